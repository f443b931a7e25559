//! The wire between workers and coordinator: a forwarder on loopback that can be pointed elsewhere, or cut.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Forwards every connection to the port that is set.
#[derive(Debug)]
pub struct Forward {
    port: u16,
    target: AtomicU16,
    cut: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Forward {
    /// Starts it.
    ///
    /// # Errors
    /// No port is free.
    pub fn start() -> std::io::Result<Arc<Forward>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let forward = Arc::new(Forward { port, target: AtomicU16::new(0), cut: AtomicBool::new(false), open: Mutex::default() });
        let accepting = forward.clone();
        std::thread::spawn(move || {
            for incoming in listener.incoming().flatten() {
                // A target that is away gives the caller a broken connection, as a dead coordinator would.
                let _ = accepting.carry(incoming);
            }
        });
        Ok(forward)
    }

    /// The address to connect to.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sends new connections to that port, and ends all that go elsewhere.
    pub fn point(&self, port: u16) {
        if self.target.swap(port, Ordering::SeqCst) != port {
            self.end_all();
        }
    }

    /// Cuts the wire, or mends it.
    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
        if cut {
            self.end_all();
        }
    }

    fn end_all(&self) {
        for stream in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn carry(&self, incoming: TcpStream) -> std::io::Result<()> {
        if self.cut.load(Ordering::SeqCst) {
            return Ok(());
        }
        let outgoing = TcpStream::connect((Ipv4Addr::LOCALHOST, self.target.load(Ordering::SeqCst)))?;
        incoming.set_nodelay(true)?;
        outgoing.set_nodelay(true)?;
        self.open.lock().unwrap_or_else(PoisonError::into_inner).extend([incoming.try_clone()?, outgoing.try_clone()?]);
        pump(incoming.try_clone()?, outgoing.try_clone()?);
        pump(outgoing, incoming);
        Ok(())
    }
}

/// Copies one direction until it ends, then ends both.
fn pump(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count) = from.read(&mut buffer) {
            if count == 0 || to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
