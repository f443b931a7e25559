//! An S3 server over a real socket: moto, of the path in `LIMBIC_MOTO`, with its PUTs one after the other.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What is started; it says why it isn't `moto_server` itself.
const LAUNCHER: &str = include_str!("moto.py");

/// A server with an empty bucket; ended when dropped.
#[derive(Debug)]
pub struct Moto {
    child: Child,
    port: u16,
}

impl Moto {
    /// The bucket.
    pub const BUCKET: &'static str = "limbic";

    /// Starts a server, or says on standard error that `what` is skipped because `LIMBIC_MOTO` is not set.
    ///
    /// # Panics
    /// If the program that `LIMBIC_MOTO` names doesn't serve.
    pub fn start(what: &str) -> Option<Moto> {
        let Some(program) = std::env::var_os("LIMBIC_MOTO") else {
            // Straight to standard error: what a passing test prints is not shown.
            let said = format!("SKIPPED {what}: set LIMBIC_MOTO to the path of moto_server (pip install 'moto[server]==5.2.5')\n");
            let _ = std::io::stderr().write_all(said.as_bytes());
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port is free").port();
        // The interpreter of the environment that moto is installed in lies beside it.
        let python = Path::new(&program).with_file_name("python3");
        let child = Command::new(&python)
            .args(["-c", LAUNCHER, "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("LIMBIC_MOTO = {}: {} can't be started: {e}", program.display(), python.display()));
        let moto = Moto { child, port };
        let began = Instant::now();
        while !moto.has_bucket() {
            assert!(began.elapsed() < Duration::from_secs(120), "moto on port {port} takes no bucket for two minutes");
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(moto)
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A store in the bucket.
    pub fn store(&self, prefix: &str) -> String {
        format!("s3://{}/{prefix}", Self::BUCKET)
    }

    /// The variables by which programs find it.
    pub fn env(&self) -> Vec<(String, String)> {
        s3_env(&self.endpoint())
    }

    /// Makes the bucket, if the server is there.
    fn has_bucket(&self) -> bool {
        let request = format!("PUT /{} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", Self::BUCKET);
        let answer = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        answer().is_ok_and(|answer| answer.contains(" 200 "))
    }
}

/// The variables by which programs find an S3 server at an endpoint.
pub fn s3_env(endpoint: &str) -> Vec<(String, String)> {
    [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("NO_PROXY", "127.0.0.1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
