//! A tiny server that speaks S3, and as much of Google's and Azure's dialects as differs from it; it honours conditional creates,
//! or ignores them or is too slow to, as some stores do.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What the server does with `If-None-Match: *` where an object stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conditional {
    /// It answers 412.
    Honoured,
    /// It overwrites.
    Ignored,
    /// It answers 412 if it finds an object, and else writes a moment later, as s3s-fs does: right one by one, wrong in a race.
    /// It is slow to take its first connections, so that their requests come one by one.
    LooksThenWrites,
    /// It answers every request with this status, as a server that fails or refuses does.
    Answers(u16),
}

/// How much later it writes than it looked.
const LATE: Duration = Duration::from_millis(20);

type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// Starts a server for as long as the process lives; its endpoint.
pub fn serve(conditional: Conditional) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let objects = Objects::default();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            if conditional == Conditional::LooksThenWrites && number < 32 {
                std::thread::sleep(2 * LATE);
            }
            let objects = objects.clone();
            std::thread::spawn(move || connection(stream, &objects, conditional));
        }
    });
    endpoint
}

struct Request {
    method: String,
    /// The object's path with its bucket.
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex: String = rest.by_ref().take(2).map(char::from).collect();
            bytes.push(u8::from_str_radix(&hex, 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let query = pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect();
    let path = decoded(path);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let mut body = vec![0; headers.get("content-length").map_or(0, |n| n.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, query, headers, body })
}

fn connection(mut stream: TcpStream, objects: &Objects, conditional: Conditional) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = request(&mut reader) {
        let (status, extra, body) = answer(&request, objects, conditional);
        let (length, sent) = (body.len(), if request.method == "HEAD" { 0 } else { body.len() });
        let head =
            format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nLast-Modified: Tue, 15 Nov 1994 12:45:26 GMT\r\n{extra}\r\n");
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..sent])).is_err() {
            return;
        }
    }
}

fn error(code: &str) -> Vec<u8> {
    format!("<Error><Code>{code}</Code><Message>said by the imitation</Message></Error>").into_bytes()
}

fn answer(request: &Request, all: &Objects, conditional: Conditional) -> (u16, String, Vec<u8>) {
    let etag = "ETag: \"e\"\r\nx-goog-generation: 1\r\n".to_owned();
    if let Conditional::Answers(status) = conditional {
        return (status, String::new(), error("Told"));
    }
    let mut objects = all.lock().unwrap();
    match (request.method.as_str(), request.query.get("comp").map(String::as_str)) {
        ("PUT", Some("block")) => {
            objects.insert(format!("block {} of {}", request.query["blockid"], request.path), request.body.clone());
            (201, etag, Vec::new())
        }
        ("PUT", Some("blocklist")) => {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            let blocks = body.split("<Uncommitted>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned());
            let blocks: Vec<String> = blocks.map(|id| format!("block {id} of {}", request.path)).collect();
            let whole = blocks.iter().flat_map(|block| objects.remove(block).unwrap()).collect();
            objects.insert(request.path.clone(), whole);
            (201, etag, Vec::new())
        }
        ("GET", Some("list")) => (200, String::new(), listing(request, &objects, Dialect::Azure)),
        ("POST", Some("batch")) => batch(request, &mut objects),
        (method, _) => plain(request, method, objects, all, conditional, etag),
    }
}

/// What S3 and Google's XML interface have in common.
fn plain<'a>(
    request: &Request,
    method: &str,
    mut objects: MutexGuard<'a, BTreeMap<String, Vec<u8>>>,
    all: &'a Objects,
    conditional: Conditional,
    etag: String,
) -> (u16, String, Vec<u8>) {
    match method {
        "PUT" if request.query.contains_key("partNumber") => {
            let number: usize = request.query["partNumber"].parse().unwrap();
            // Not under the bucket, so not listed.
            objects.insert(format!("part {number:05} of {}", request.path), request.body.clone());
            (200, etag, Vec::new())
        }
        "POST" if request.query.contains_key("uploads") => {
            (200, String::new(), b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>".to_vec())
        }
        "POST" if request.query.contains_key("uploadId") => {
            let of = format!(" of {}", request.path);
            let parts: Vec<String> = objects.keys().filter(|key| key.starts_with("part ") && key.ends_with(&of)).cloned().collect();
            let whole = parts.iter().flat_map(|part| objects.remove(part).unwrap()).collect();
            objects.insert(request.path.clone(), whole);
            (200, String::new(), b"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>".to_vec())
        }
        "PUT" => {
            let asked = request.headers.contains_key("if-none-match")
                || request.headers.get("x-goog-if-generation-match").is_some_and(|v| v == "0");
            let asked = asked && conditional != Conditional::Ignored;
            if asked && objects.contains_key(&request.path) {
                return (412, String::new(), error("PreconditionFailed"));
            }
            if asked && conditional == Conditional::LooksThenWrites {
                drop(objects);
                std::thread::sleep(LATE);
                objects = all.lock().unwrap();
            }
            objects.insert(request.path.clone(), request.body.clone());
            (200, etag, Vec::new())
        }
        "GET" if request.query.contains_key("list-type") => (200, String::new(), listing(request, &objects, Dialect::S3)),
        "GET" | "HEAD" => match objects.get(&request.path) {
            None => (404, String::new(), error("NoSuchKey")),
            Some(bytes) => match request.headers.get("range").and_then(|r| r.strip_prefix("bytes=")?.split_once('-')) {
                None => (200, etag, bytes.clone()),
                Some((from, to)) => {
                    let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
                    let to = to.min(bytes.len() - 1);
                    (206, format!("{etag}Content-Range: bytes {from}-{to}/{}\r\n", bytes.len()), bytes[from..=to].to_vec())
                }
            },
        },
        "POST" if request.query.contains_key("delete") => {
            let bucket = request.path.trim_matches('/').to_owned();
            let body = String::from_utf8_lossy(&request.body).into_owned();
            for key in body.split("<Key>").skip(1) {
                objects.remove(&format!("/{bucket}/{}", key.split('<').next().unwrap()));
            }
            (200, String::new(), b"<DeleteResult></DeleteResult>".to_vec())
        }
        "DELETE" => match objects.remove(&request.path) {
            Some(_) => (204, String::new(), Vec::new()),
            None => (404, String::new(), error("NoSuchKey")),
        },
        other => panic!("the imitation doesn't know {other} {}", request.path),
    }
}

/// How a listing is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    S3,
    Azure,
}

fn listing(request: &Request, objects: &BTreeMap<String, Vec<u8>>, dialect: Dialect) -> Vec<u8> {
    let bucket = format!("/{}/", request.path.trim_matches('/'));
    let prefix = request.query.get("prefix").cloned().unwrap_or_default();
    let delimited = request.query.contains_key("delimiter");
    let (mut folders, mut found) = (std::collections::BTreeSet::new(), String::new());
    for (path, bytes) in objects {
        let Some(key) = path.strip_prefix(&bucket).filter(|key| key.starts_with(&prefix)) else { continue };
        match (key[prefix.len()..].split_once('/').filter(|_| delimited), dialect) {
            (Some((folder, _)), _) => drop(folders.insert(format!("{prefix}{folder}/"))),
            (None, Dialect::S3) => write!(
                found,
                "<Contents><Key>{key}</Key><LastModified>2025-01-01T00:00:00.000Z</LastModified><ETag>e</ETag><Size>{}</Size></Contents>",
                bytes.len()
            )
            .unwrap(),
            (None, Dialect::Azure) => write!(
                found,
                "<Blob><Name>{key}</Name><Properties><Last-Modified>Tue, 15 Nov 1994 12:45:26 GMT</Last-Modified><Etag>e</Etag>\
                 <Content-Length>{}</Content-Length><Content-Type>application/octet-stream</Content-Type></Properties></Blob>",
                bytes.len()
            )
            .unwrap(),
        }
    }
    let each = |(open, close): (&str, &str)| folders.iter().map(|folder| format!("{open}{folder}{close}")).collect::<String>();
    match dialect {
        Dialect::S3 => {
            let folders = each(("<CommonPrefixes><Prefix>", "</Prefix></CommonPrefixes>"));
            format!("<ListBucketResult><IsTruncated>false</IsTruncated>{found}{folders}</ListBucketResult>")
        }
        Dialect::Azure => {
            let folders = each(("<BlobPrefix><Name>", "</Name></BlobPrefix>"));
            format!("<EnumerationResults><Blobs>{found}{folders}</Blobs><NextMarker /></EnumerationResults>")
        }
    }
    .into_bytes()
}

/// Azure deletes several objects by one request that holds a request for each.
fn batch(request: &Request, objects: &mut BTreeMap<String, Vec<u8>>) -> (u16, String, Vec<u8>) {
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let mut parts = String::new();
    for (number, line) in body.lines().filter(|line| line.starts_with("DELETE ")).enumerate() {
        let path = decoded(line.split(' ').nth(1).unwrap().split('?').next().unwrap());
        let status = if objects.remove(&path).is_some() { "202 Accepted" } else { "404 Not Found" };
        write!(parts, "--b\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\nHTTP/1.1 {status}\r\n\r\n\r\n").unwrap();
    }
    (202, "Content-Type: multipart/mixed; boundary=b\r\n".to_owned(), format!("{parts}--b--\r\n").into_bytes())
}
