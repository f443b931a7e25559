//! A tiny hub: repositories' listings and files over HTTP.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A server for as long as the process lives.
pub struct Hub {
    pub endpoint: String,
    fetched: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    /// Serves files named `OWNER/NAME/FILE`, those of datasets `datasets/OWNER/NAME/FILE`.
    pub fn serve(files: &[(&str, &[u8])]) -> Hub {
        let files: BTreeMap<String, Vec<u8>> = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let fetched = Arc::new(Mutex::new(Vec::new()));
        let (files, log) = (Arc::new(files), fetched.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, log) = (files.clone(), log.clone());
                std::thread::spawn(move || answer(stream, &files, &log));
            }
        });
        Hub { endpoint, fetched }
    }

    /// The files that were asked for.
    pub fn fetched(&self) -> Vec<String> {
        self.fetched.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, files: &BTreeMap<String, Vec<u8>>, log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let target = first.split_whitespace().nth(1).unwrap().to_owned();
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let range = headers.iter().find_map(|h| {
        let (from, to) = h.to_lowercase().strip_prefix("range: bytes=")?.split_once('-').map(|(a, b)| (a.to_owned(), b.to_owned()))?;
        Some((from.parse::<usize>().ok()?, to.parse::<usize>().unwrap_or(usize::MAX)))
    });
    let (status, extra, body) = match target.strip_prefix("/api/") {
        Some(repository) => {
            let name = repository.split("/revision/").next().unwrap();
            let name = name.strip_prefix("models/").unwrap_or(name);
            let siblings: Vec<String> = files
                .keys()
                .filter_map(|file| file.strip_prefix(&format!("{name}/")))
                .map(|file| format!(r#"{{"rfilename": "{file}"}}"#))
                .collect();
            (200, String::new(), format!(r#"{{"sha": "{COMMIT}", "siblings": [{}]}}"#, siblings.join(", ")).into_bytes())
        }
        None => {
            let (repository, file) = target.trim_start_matches('/').split_once("/resolve/").unwrap();
            let file = format!("{repository}/{}", file.split_once('/').unwrap().1);
            match files.get(&file) {
                None => (404, String::new(), Vec::new()),
                Some(bytes) => {
                    log.lock().unwrap().push(file.clone());
                    let (from, to) = range.unwrap_or((0, usize::MAX));
                    let to = to.min(bytes.len() - 1);
                    let extra = format!(
                        "ETag: \"{}\"\r\nX-Repo-Commit: {COMMIT}\r\nContent-Range: bytes {from}-{to}/{}\r\n",
                        file.replace('/', "-"),
                        bytes.len()
                    );
                    (206, extra, bytes[from..=to].to_vec())
                }
            }
        }
    };
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{extra}\r\n", body.len());
    // Whoever asked may have gone.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}
