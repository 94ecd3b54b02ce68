//! The memory of this process.

/// Gives memory back to the system that was needed for a while and is free again. The C library keeps it otherwise:
/// glibc for as long as the process lives; musl gives it back by itself, and nothing is done. It takes milliseconds for a
/// heap of tens of MiB.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    crate::kernel::trim_heap();
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_env = "gnu")]
    fn free_memory_goes_back() {
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
        };
        // Small pieces, of which the last one stays: the library cannot give back what lies below by itself.
        let mut pieces: Vec<Box<[u8; 1000]>> = (0..40_000).map(|_| Box::new([1; 1000])).collect();
        let last = pieces.pop();
        drop(pieces);
        let before = resident();
        super::give_back();
        assert!(resident() + 20_000 < before, "{before} KiB before, {} KiB after", resident());
        drop(last);
    }
}
