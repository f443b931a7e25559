//! What this computer is called and how much memory it has.

use std::path::{Path, PathBuf};

use limbic_store::chance;

/// A worker's name: host, process and a random tail, so that it is chosen once per process.
pub fn worker_id() -> String {
    let host = limbic_store::host::name().unwrap_or_else(|| "worker".to_owned());
    format!("{host}-{}-{:04x}", std::process::id(), chance::draw::<u16>())
}

/// Bytes of memory that models can use on a device, as the coordinator places them by; 0 if unknown, and so on a GPU, where
/// this computer's own memory says nothing.
pub fn memory_for_models(device: &str) -> u64 {
    if device == "cpu" { memory_bytes() } else { 0 }
}

/// Bytes of memory this process may use: the container's limit or the computer's memory, whichever is less; 0 if unknown.
pub fn memory_bytes() -> u64 {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = |file: PathBuf| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let container = limits(&own).into_iter().filter_map(limit).min();
    let computer = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|l| l.starts_with("MemTotal:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    });
    container.into_iter().chain(computer).min().unwrap_or(0)
}

/// The files that may limit this process's memory: of its own control group and of all above it, as `/proc/self/cgroup` names them
/// (`0::/PATH`, or `5:memory:/PATH` of the first version). In a container the path may be one that isn't seen there; its root is.
fn limits(own: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in own.lines().chain(["0::/", "0:memory:/"]) {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            named if named.split(',').any(|c| c == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        files.extend(Path::new(path.trim_start_matches('/')).ancestors().map(|group| Path::new(root).join(group).join(file)));
    }
    files
}

/// Bytes of memory that a worker of so many threads may use for one purpose: half of it all, or the share of that which they have of
/// the cores, for the rest is for workers on the others; 0 if unknown.
pub(crate) fn part_of_memory(threads: usize) -> u64 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (memory_bytes() as f64 / 2.0 * (threads as f64 / cores as f64).min(1.0)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_that_share_the_cores_share_the_memory() {
        let (half, cores) = (memory_bytes() / 2, std::thread::available_parallelism().unwrap().get());
        assert_eq!([part_of_memory(cores), part_of_memory(usize::MAX)], [half; 2]);
        assert!((half / cores as u64).abs_diff(part_of_memory(1)) <= 1);
    }

    #[test]
    fn the_limits_of_a_job_within_a_node_are_looked_for() {
        let of = |own: &str| limits(own).into_iter().map(|f| f.to_string_lossy().into_owned()).collect::<Vec<_>>();
        let second = of("0::/system.slice/job_7/step_0\n");
        for file in ["system.slice/job_7/step_0/", "system.slice/job_7/", "system.slice/", ""] {
            assert!(second.contains(&format!("/sys/fs/cgroup/{file}memory.max")), "{file}: {second:?}");
        }
        let first = of("11:cpu,cpuacct:/slurm\n5:memory:/slurm/uid_5/job_7\n");
        assert!(first.contains(&"/sys/fs/cgroup/memory/slurm/uid_5/job_7/memory.limit_in_bytes".to_owned()), "{first:?}");
        assert!(!first.iter().any(|f| f.ends_with("slurm/memory.max")), "{first:?}");
        assert_eq!(of(""), ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]);
    }

    #[test]
    fn a_gpu_does_not_boast_of_the_memory_of_its_computer() {
        assert_eq!((memory_for_models("cuda:0"), memory_for_models("cpu")), (0, memory_bytes()));
    }
}
