//! Where the store of a run lies, and how it goes away for a while.

use std::ffi::CString;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Where a store lies.
#[derive(Debug, Clone)]
pub enum Place {
    /// In a folder.
    Folder(String),
    /// At a URL; such a store is never away, for it is not ours.
    Url(String),
    /// In an S3 server that this program starts.
    Moto(Arc<Moto>),
}

/// An S3 server: moto, of the path in `LIMBIC_MOTO`.
#[derive(Debug)]
pub struct Moto {
    child: Mutex<Child>,
}

/// The bucket in it.
const BUCKET: &str = "limbic";

impl Moto {
    /// Starts the server, makes a bucket, and sets this process's environment so that it and its children find it.
    ///
    /// # Errors
    /// `LIMBIC_MOTO` names no server that can be started.
    pub fn start() -> anyhow::Result<Moto> {
        let program = std::env::var("LIMBIC_MOTO").context("LIMBIC_MOTO must name the program moto_server (of moto[server,s3])")?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        let moto = Moto { child: Mutex::new(child) };
        let began = Instant::now();
        while let Err(error) = bucket(port) {
            if began.elapsed() > Duration::from_secs(60) {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let settings = [
            ("AWS_ENDPOINT", format!("http://127.0.0.1:{port}")),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ];
        for (name, value) in settings {
            // SAFETY: this is the first thing that a run does; there is no other thread yet.
            unsafe { std::env::set_var(name, value) };
        }
        Ok(moto)
    }

    fn signal(&self, signal: i32) {
        super::fleet::signal(&self.child.lock().unwrap_or_else(PoisonError::into_inner), signal);
    }
}

/// Makes the bucket.
fn bucket(port: u16) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(
        format!("PUT /{BUCKET} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if !answer.contains(" 200 ") {
        bail!("the S3 server answers: {answer}");
    }
    Ok(())
}

impl Drop for Moto {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Place {
    /// What `--store` says: nothing (a folder of the run's own), `moto`, a folder or a URL.
    ///
    /// # Errors
    /// The S3 server can't be started.
    pub fn named(name: Option<&str>, folder: &Path) -> anyhow::Result<Place> {
        Ok(match name {
            None => Place::Folder(folder.join("chaos/store").to_string_lossy().into_owned()),
            Some("moto") => Place::Moto(Arc::new(Moto::start()?)),
            Some(url) if url.contains("://") => Place::Url(url.to_owned()),
            Some(path) => Place::Folder(path.to_owned()),
        })
    }

    /// What the table calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Place::Folder(_) => "a local folder",
            Place::Url(_) => "an object store",
            Place::Moto(_) => "S3 over HTTP (moto)",
        }
    }

    /// Its address.
    ///
    /// # Errors
    /// A folder can't be made.
    pub fn open(&self, _: &Path) -> anyhow::Result<String> {
        Ok(match self {
            Place::Folder(path) => {
                std::fs::create_dir_all(path)?;
                path.clone()
            }
            Place::Url(url) => url.clone(),
            Place::Moto(_) => format!("s3://{BUCKET}/chaos"),
        })
    }

    /// Takes the store away for that long; false where that can't be done.
    pub fn outage(&self, address: &str, time: Duration) -> bool {
        match self {
            Place::Url(_) => false,
            Place::Moto(moto) => {
                moto.signal(libc::SIGSTOP);
                std::thread::sleep(time);
                moto.signal(libc::SIGCONT);
                true
            }
            Place::Folder(_) => {
                // A file in the folder's place: nobody can read, write or make the folder anew.
                let aside = format!("{address}.away");
                if std::fs::write(&aside, b"").is_err() || !exchange(address, &aside) {
                    return false;
                }
                std::thread::sleep(time);
                let back = exchange(address, &aside);
                // The file is of no more use; left behind it does no harm.
                let _ = std::fs::remove_file(&aside);
                back
            }
        }
    }
}

/// Exchanges two paths in one step.
fn exchange(one: &str, other: &str) -> bool {
    let (Ok(one), Ok(other)) = (CString::new(one), CString::new(other)) else { return false };
    // SAFETY: both are strings that end with a zero and live until the call returns.
    unsafe { libc::renameat2(libc::AT_FDCWD, one.as_ptr(), libc::AT_FDCWD, other.as_ptr(), libc::RENAME_EXCHANGE) == 0 }
}
