//! Values that are read when they are needed, so that a large study doesn't have to fit into memory.

use std::fmt;
use std::sync::Arc;

/// How a value is got at; a clone reads the same one.
pub struct Deferred<T>(Arc<Read<T>>);

type Read<T> = dyn Fn() -> Result<Arc<T>, String> + Send + Sync;

impl<T: Send + Sync + 'static> Deferred<T> {
    /// A value that is in memory.
    pub fn held(value: T) -> Deferred<T> {
        let value = Arc::new(value);
        Deferred(Arc::new(move || Ok(value.clone())))
    }

    /// A value that `read` gets; it says why it can't, if it can't.
    pub fn new(read: impl Fn() -> Result<Arc<T>, String> + Send + Sync + 'static) -> Deferred<T> {
        Deferred(Arc::new(read))
    }

    /// The value.
    ///
    /// # Errors
    /// What the reader says.
    pub fn read(&self) -> Result<Arc<T>, String> {
        (self.0)()
    }
}

impl<T> Clone for Deferred<T> {
    fn clone(&self) -> Deferred<T> {
        Deferred(self.0.clone())
    }
}

impl<T> fmt::Debug for Deferred<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deferred")
    }
}
