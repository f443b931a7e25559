//! What this computer is called and how much memory it has.

use std::path::Path;

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
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let container = limits.iter().filter_map(|p| std::fs::read_to_string(Path::new(p)).ok()?.trim().parse::<u64>().ok()).min();
    let computer = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|l| l.starts_with("MemTotal:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    });
    container.into_iter().chain(computer).min().unwrap_or(0)
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
    fn a_gpu_does_not_boast_of_the_memory_of_its_computer() {
        assert_eq!((memory_for_models("cuda:0"), memory_for_models("cpu")), (0, memory_bytes()));
    }
}
