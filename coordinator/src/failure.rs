//! What ends a command: whose fault it is, and so the exit code.

use std::fmt;

use crate::journal::JournalError;

/// The exit codes of both binaries, beside 0.
pub mod exit {
    /// The user must change something: a file, a field, a flag.
    pub const USER: u8 = 2;
    /// Another coordinator leads, or something was out of reach: try again.
    pub const AGAIN: u8 = 75;
}

/// What ends a command.
#[derive(Debug)]
pub enum Failure {
    /// The user must change something; the message says what.
    User(String),
    /// Trying again later can help.
    Again(String),
}

impl Failure {
    /// The user must change something.
    pub fn user(message: impl fmt::Display) -> Failure {
        Failure::User(message.to_string())
    }

    /// Trying again later can help.
    pub fn again(message: impl fmt::Display) -> Failure {
        Failure::Again(message.to_string())
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::User(_) => exit::USER,
            Failure::Again(_) => exit::AGAIN,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::User(message) | Failure::Again(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Failure {}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Failure {
        match error {
            JournalError::Superseded { .. } => Failure::again(error),
            JournalError::Store(error) => error.into(),
            // It will be read so again.
            JournalError::Entry { .. } => Failure::user(error),
        }
    }
}

impl From<limbic_store::StoreError> for Failure {
    fn from(error: limbic_store::StoreError) -> Failure {
        if error.out_of_reach() { Failure::again(error) } else { Failure::user(error) }
    }
}
