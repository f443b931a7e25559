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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_does_not_boast_of_the_memory_of_its_computer() {
        assert_eq!((memory_for_models("cuda:0"), memory_for_models("cpu")), (0, memory_bytes()));
    }
}
