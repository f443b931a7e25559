//! Where sweeps are looked up: in a store, or at the coordinator that leads them.

use std::path::Path;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, FromArgMatches};
use limbic_store::Store;

use super::remote::{RemoteArgs, USUAL};
use super::{DEFAULT_STORE, StoreArgs};
use crate::failure::Failure;

/// Where sweeps are looked up. A flag counts more than a variable; of the two variables LIMBIC_COORDINATOR counts more, for
/// a coordinator knows more.
#[derive(Debug, Clone)]
pub(super) enum Where {
    Store(StoreArgs),
    Coordinator(RemoteArgs),
}

impl StoreArgs {
    /// Opens the store in which sweeps are looked up, unless a coordinator is likely to have been meant.
    pub(super) async fn look(&self) -> Result<Store, Failure> {
        if self.store.is_none() && !Path::new(DEFAULT_STORE).is_dir() {
            return Err(Failure::user(format_args!(
                "there is no folder {DEFAULT_STORE} here: name the store with --store, or a running coordinator with --coordinator (one on this \
                 computer listens on {USUAL}, if nothing else was said)"
            )));
        }
        self.open_existing(None).await
    }
}

#[derive(Debug, clap::Args)]
struct Flags {
    #[command(flatten)]
    store: StoreArgs,
    /// Asks a running coordinator, which also knows what runs, instead of reading the store.
    #[arg(long, value_name = "URL", env = "LIMBIC_COORDINATOR")]
    coordinator: Option<String>,
}

impl FromArgMatches for Where {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Where, clap::Error> {
        let said = |flag: &str| matches.value_source(flag) == Some(ValueSource::CommandLine);
        let (store, coordinator) = (said("store"), said("coordinator"));
        let flags = Flags::from_arg_matches(matches)?;
        match flags.coordinator {
            Some(_) if store && coordinator => {
                let message = "--store and --coordinator: name one of them; a coordinator has its own store\n";
                Err(clap::Error::raw(ErrorKind::ArgumentConflict, message))
            }
            Some(url) if coordinator || !store => Ok(Where::Coordinator(RemoteArgs::at(&url))),
            _ => Ok(Where::Store(flags.store)),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Where::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Where {
    fn augment_args(command: clap::Command) -> clap::Command {
        Flags::augment_args(command)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Flags::augment_args_for_update(command)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::Where;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        of: Where,
    }

    #[test]
    fn one_place_is_named() {
        let read = |args: &[&str]| Line::try_parse_from([&["limbic"], args].concat()).map(|line| line.of);
        assert!(matches!(read(&["--store", "s"]), Ok(Where::Store(store)) if store.store.as_deref() == Some("s")));
        assert!(matches!(read(&["--coordinator", "http://h:1"]), Ok(Where::Coordinator(_))));
        assert!(read(&["--store", "s", "--coordinator", "http://h:1"]).unwrap_err().to_string().contains("name one of them"));
    }
}
