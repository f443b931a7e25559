//! `limbic gc`: removes artifacts that no commit names, and what is left of activations that were released.

use std::time::{Duration, SystemTime};

use limbic_proto::answer;
use limbic_store::garbage::Leftover;
use serde_json::json;

use super::StoreArgs;
use crate::failure::Failure;
use crate::progress::{bytes, seconds};

/// An attempt younger than this may still be on its way to its commit.
const YOUNGEST: Duration = Duration::from_secs(3600);

/// Arguments of `limbic gc`.
#[derive(Debug, clap::Args)]
pub struct GcArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Shows what would be removed, and removes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Only attempts whose last object is older: a number with s, m, h or d, such as 7d; at least 1h.
    #[arg(long, value_name = "AGE", default_value = "7d", value_parser = age)]
    older_than: Duration,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Reads `7d`.
fn age(text: &str) -> Result<Duration, String> {
    let usual = || format!("`{text}`: write a number with s, m, h or d, such as 7d or 12h");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(usual)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(usual()),
    };
    let number: u64 = number.parse().map_err(|_| usual())?;
    let age = Duration::from_secs(number.checked_mul(seconds).ok_or_else(usual)?);
    if age < YOUNGEST {
        return Err(format!("`{text}`: must be at least 1h: a younger attempt may be about to be committed"));
    }
    Ok(age)
}

/// What was found and done.
#[derive(Debug, Default)]
struct Tally {
    /// Attempts that no commit names.
    attempts: u64,
    objects: u64,
    bytes: u64,
    released: Released,
    referenced: u64,
    young: u64,
    unclear: u64,
}

/// Activations that were released, and whose coordinator died before they were deleted.
#[derive(Debug, Default)]
struct Released {
    objects: u64,
    bytes: u64,
}

impl Tally {
    fn add(&mut self, leftover: &Leftover) {
        let (objects, bytes) = (leftover.objects.len() as u64, leftover.bytes());
        if leftover.released {
            self.released.objects += objects;
            self.released.bytes += bytes;
        } else {
            self.attempts += 1;
            self.objects += objects;
            self.bytes += bytes;
        }
    }
}

/// Removes artifacts that nobody needs.
pub async fn gc(args: GcArgs) -> Result<(), Failure> {
    let store = args.store.open_existing(None).await?;
    let before = SystemTime::now()
        .checked_sub(args.older_than)
        .ok_or_else(|| Failure::user("--older-than: is before all time; write fewer days"))?;
    let mut tally = Tally::default();
    for part in store.data_parts().await? {
        let found = store.leftovers(&part, before).await?;
        tally.referenced += found.referenced;
        tally.young += found.young;
        tally.unclear += found.unclear;
        for leftover in &found.garbage {
            if args.dry_run || store.discard(leftover).await? {
                tally.add(leftover);
                say(&args, leftover);
            } else {
                tally.referenced += 1;
            }
        }
    }
    let (mut unfinished, mut unfinished_bytes) = (0, 0);
    for (file, length) in store.unfinished(before).await? {
        if !args.json {
            answer!("{}  {}", file.display(), bytes(length));
        }
        (unfinished, unfinished_bytes) = (unfinished + 1, unfinished_bytes + length);
        if !args.dry_run {
            store.discard_unfinished(file).await?;
        }
    }
    let Tally { attempts, objects, released, referenced, young, unclear, .. } = tally;
    if args.json {
        answer!(
            "{}",
            json!({
                "dry_run": args.dry_run, "attempts": attempts, "objects": objects, "bytes": tally.bytes,
                "released": {"objects": released.objects, "bytes": released.bytes},
                "unfinished": {"files": unfinished, "bytes": unfinished_bytes},
                "kept": {"referenced": referenced, "young": young, "unclear_objects": unclear},
            })
        );
        return Ok(());
    }
    let verb = if args.dry_run { "would remove" } else { "removed" };
    answer!("{verb} {objects} objects ({}) of {attempts} attempts that no commit names", bytes(tally.bytes));
    if released.objects > 0 {
        answer!("{verb} {} objects ({}) of activations that were released", released.objects, bytes(released.bytes));
    }
    if unfinished > 0 {
        answer!("{verb} {unfinished} files ({}) of writes that never ended", bytes(unfinished_bytes));
    }
    let age = seconds(args.older_than.as_secs_f64());
    answer!("kept {referenced} older attempts that a commit names, and {young} that are younger than {age} (--older-than)");
    if unclear > 0 {
        answer!("kept {unclear} objects that are not understood: was another release at work here?");
    }
    Ok(())
}

fn say(args: &GcArgs, leftover: &Leftover) {
    if !args.json {
        answer!("data/{}/{}/{}  {}", leftover.unit.fan_out(), leftover.unit, leftover.attempt, bytes(leftover.bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_and_the_young_are_safe() {
        assert_eq!(age("7d"), Ok(Duration::from_secs(7 * 24 * 3600)));
        assert_eq!(age("90m"), Ok(Duration::from_secs(90 * 60)));
        assert!(age("59m").unwrap_err().contains("at least 1h"));
        for bad in ["", "7", "d", "7w", "-1d", "1.5h", "99999999999999999d", "7ö"] {
            assert!(age(bad).unwrap_err().contains("such as 7d"), "{bad}");
        }
    }
}
