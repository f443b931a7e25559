//! Why a store can't do what was asked, and whether trying again can help.

use std::error::Error as StdError;
use std::path::Path;

use object_store::Error;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The address means nothing.
    #[error("store `{url}`: {message}")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it and what to write.
        message: String,
    },
    /// The store can't be read or written.
    #[error("store `{url}`: {what}: {source}")]
    Io {
        /// The store.
        url: String,
        /// What was tried.
        what: String,
        /// What the store said.
        source: Error,
    },
    /// There is no room left.
    #[error("store `{url}`: {what}: the disk is full: free some space, or choose another store; everything committed is kept")]
    Full {
        /// The store.
        url: String,
        /// What was tried.
        what: String,
    },
    /// The folder or file may not be written or read by this user.
    #[error("store `{url}`: {what}: permission denied: choose a store that you can write (--store), or mend its permissions")]
    Denied {
        /// The store.
        url: String,
        /// What was tried.
        what: String,
    },
    /// The store can't be reached or fails.
    #[error(
        "store `{url}`: can't be reached ({message}): check the address, the network, the credentials and the endpoint (AWS_ENDPOINT_URL and the like), and try again"
    )]
    Away {
        /// The store.
        url: String,
        /// What the system said.
        message: String,
    },
    /// The store gives no answer.
    #[error(
        "store `{url}`: gives no answer for {seconds} s: check the address, the network, the credentials (without any, the cloud's own are \
         asked for, which may not be there) and the endpoint (AWS_ENDPOINT_URL and the like), and try again"
    )]
    Silent {
        /// The store.
        url: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The store answers, and says no.
    #[error("store `{url}`: refuses ({message}): check that the bucket is there, the region, and that the credentials may list it")]
    Refused {
        /// The store.
        url: String,
        /// What the store said.
        message: String,
    },
    /// The store doesn't keep the promises that commits rest on.
    #[error("store `{url}`: can't be used: {failed}")]
    Unfit {
        /// The store.
        url: String,
        /// Each promise that was not kept, what was seen, and what that means.
        failed: String,
    },
    /// An object's bytes are not what was written.
    #[error("store `{url}`: {path} is corrupt: {message}")]
    Corrupt {
        /// The store.
        url: String,
        /// The object.
        path: String,
        /// What was found.
        message: String,
    },
}

impl StoreError {
    /// What a store's own error means; `what` says what was tried.
    pub(crate) fn of(url: &str, what: String, source: Error) -> StoreError {
        let url = url.to_owned();
        if full(&source) {
            StoreError::Full { url, what }
        } else if denied(&source) {
            StoreError::Denied { url, what }
        } else if Path::new(&url).is_absolute() && !Path::new(&url).is_dir() {
            // What is said of a single object means nothing while its whole folder is gone (unmounted, say).
            StoreError::Away { url, message: format!("its folder is gone: {source}") }
        } else {
            StoreError::Io { url, what, source }
        }
    }

    /// Whether the object does not exist.
    pub fn not_found(&self) -> bool {
        matches!(self, StoreError::Io { source: Error::NotFound { .. }, .. })
    }

    /// Whether the store was out of reach, so that trying again can help: no connection, no answer, 5xx, too many requests; of a
    /// folder, what its file system fails at (a stale handle, a disk or a server that gives no answer).
    /// What a server refuses (another 4xx, a redirect to another region) it will refuse again.
    pub fn out_of_reach(&self) -> bool {
        match self {
            StoreError::Silent { .. } | StoreError::Away { .. } => true,
            StoreError::Io { url, source: source @ Error::Generic { .. }, .. } if url.contains("://") => !refused(source),
            StoreError::Io { source: source @ Error::Generic { .. }, .. } => {
                chain(source).filter_map(|error| error.downcast_ref()).any(passing)
            }
            _ => false,
        }
    }

    /// Whether a store that has done such a thing before may do it again later, although it doesn't now: beside what was out of
    /// reach, a full disk and what it refuses, for credentials run out and are renewed. What it lacks (an object, a bucket) or doesn't
    /// know how to do is not among it.
    pub fn may_pass(&self) -> bool {
        match self {
            StoreError::Full { .. } | StoreError::Denied { .. } | StoreError::Refused { .. } => true,
            StoreError::Io { source, .. } => {
                matches!(source, Error::Generic { .. } | Error::PermissionDenied { .. } | Error::Unauthenticated { .. })
            }
            _ => self.out_of_reach(),
        }
    }
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// Whether somewhere in the chain of causes the system says that there is no room.
fn full(error: &(dyn StdError + 'static)) -> bool {
    use std::io::ErrorKind;
    chain(error)
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge))
}

/// Whether what a file system says may be over the next time: everything but what says that the folder is no place for a store.
pub(crate) fn passing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    !matches!(
        error.kind(),
        ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::DirectoryNotEmpty
            | ErrorKind::InvalidInput
            | ErrorKind::InvalidFilename
            | ErrorKind::TooManyLinks
            | ErrorKind::CrossesDevices
            | ErrorKind::Unsupported
    )
}

/// Whether somewhere in the chain of causes the system says that this is not allowed; it won't be the next time.
pub(crate) fn denied(error: &(dyn StdError + 'static)) -> bool {
    use std::io::ErrorKind;
    chain(error)
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem))
}

/// Whether the server answered, and the answer would be the same again.
fn refused(error: &(dyn StdError + 'static)) -> bool {
    // The types that hold the status are private to object_store, so their words have to do.
    let last = innermost(error);
    let passing = PASSING.iter().any(|code| last.contains(code));
    last.contains("redirect without LOCATION") || status(&last).is_some_and(|s| (300..500).contains(&s) && s != 408 && s != 429 && !passing)
}

/// Codes of S3 whose status is 400 or 403 and that pass: an upload that stalled, a clock that is being set right.
const PASSING: [&str; 2] = ["RequestTimeout", "RequestTimeTooSkewed"];

/// The HTTP status in `Server returned non-2xx status code: 403 Forbidden: …`.
fn status(message: &str) -> Option<u16> {
    message.split_once("status code: ")?.1.get(..3)?.parse().ok()
}

/// The message at the end of the chain of causes; of an XML answer just the code and message it holds.
pub(crate) fn innermost(error: &(dyn StdError + 'static)) -> String {
    let last = chain(error).last().map(ToString::to_string).unwrap_or_default();
    let tag = |name: &str| Some(last.split_once(&format!("<{name}>"))?.1.split_once('<')?.0);
    match (status(&last), tag("Code")) {
        (Some(status), Some(code)) => format!("status code: {status} {code}: {}", tag("Message").unwrap_or_default()),
        _ => last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("listing failed: {source}")]
    struct Outer {
        source: Inner,
    }
    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Inner(&'static str);

    fn said(url: &str, words: &'static str) -> StoreError {
        StoreError::of(url, String::new(), Error::Generic { store: "S3", source: Box::new(Outer { source: Inner(words) }) })
    }

    #[test]
    fn what_a_user_may_not_write_is_said_and_not_tried_again() {
        let source =
            Error::Generic { store: "LocalFileSystem", source: Box::new(std::io::Error::from(std::io::ErrorKind::PermissionDenied)) };
        assert!(denied(&source));
        let error = StoreError::of("/", "creating x".to_owned(), source);
        assert!(!error.out_of_reach() && error.to_string().contains("permission denied: choose a store that you can write"), "{error}");
    }

    #[test]
    fn what_a_server_refuses_is_not_out_of_reach() {
        let of = |words| said("s3://bucket", words).out_of_reach();
        for away in ["503 Service Unavailable: x", "500 Internal Server Error", "429 Too Many Requests", "408 Request Timeout"] {
            assert!(of(Box::leak(format!("Server returned non-2xx status code: {away}").into_boxed_str())), "{away}");
        }
        for no in ["403 Forbidden: ", "404 Not Found: <Error><Code>NoSuchBucket</Code></Error>", "301 Moved Permanently", "400 Bad Request"]
        {
            assert!(!of(Box::leak(format!("Server returned non-2xx status code: {no}").into_boxed_str())), "{no}");
        }
        assert!(of(
            "Server returned non-2xx status code: 400 Bad Request: <Error><Code>RequestTimeout</Code><Message>Idle</Message></Error>"
        ));
        assert!(of("Server returned non-2xx status code: 403 Forbidden: <Error><Code>RequestTimeTooSkewed</Code></Error>"));
        assert!(of("connection refused"));
        assert!(!of("Received redirect without LOCATION, this normally indicates an incorrectly configured region"));
        let folder = std::env::temp_dir();
        assert!(!said(&folder.to_string_lossy(), "connection refused").out_of_reach(), "a folder that is there is in reach");
        assert!(said("/no/such/folder", "connection refused").out_of_reach(), "one that is gone may come back");
    }

    #[test]
    fn what_a_file_system_fails_at_passes_and_what_it_was_not_made_for_does_not() {
        let folder = std::env::temp_dir().to_string_lossy().into_owned();
        let of = |errno| {
            let source = Box::new(std::io::Error::from_raw_os_error(errno));
            StoreError::of(&folder, "reading x".to_owned(), Error::Generic { store: "LocalFileSystem", source })
        };
        // EIO, ETIMEDOUT, ENOLCK, ESTALE, EMFILE
        for errno in [5, 110, 37, 116, 24] {
            let error = of(errno);
            assert!(error.out_of_reach() && error.may_pass(), "{error}");
        }
        // ENOTDIR, EISDIR, EINVAL, EXDEV, EOPNOTSUPP
        for errno in [20, 21, 22, 18, 95] {
            assert!(!of(errno).out_of_reach(), "{}", of(errno));
        }
        // EACCES, EROFS, ENOSPC: they are the user's matter at first, and pass where the store has worked before.
        for errno in [13, 30, 28] {
            let error = of(errno);
            assert!(!error.out_of_reach() && error.may_pass(), "{error}");
        }
    }

    #[test]
    fn what_is_refused_may_be_allowed_again_and_what_is_missing_is_missing() {
        let io = |source| StoreError::of("s3://bucket", "reading x".to_owned(), source);
        let forbidden = io(Error::PermissionDenied { path: "x".to_owned(), source: "403 ExpiredToken".into() });
        assert!(!forbidden.out_of_reach() && forbidden.may_pass());
        let expired = said("s3://bucket", "Server returned non-2xx status code: 400 Bad Request: <Error><Code>ExpiredToken</Code></Error>");
        assert!(!expired.out_of_reach() && expired.may_pass());
        let missing = io(Error::NotFound { path: "x".to_owned(), source: "404".into() });
        let corrupt = StoreError::Corrupt { url: String::new(), path: String::new(), message: String::new() };
        assert!(!missing.may_pass() && !corrupt.may_pass());
    }

    #[test]
    fn of_an_xml_answer_only_the_words_are_shown() {
        let xml = "Server returned non-2xx status code: 404 Not Found: <?xml?><Error><Code>NoSuchBucket</Code><Message>It is not there</Message></Error>";
        assert_eq!(innermost(&Outer { source: Inner(xml) }), "status code: 404 NoSuchBucket: It is not there");
    }
}
