//! How long to wait after a failure.

use std::time::Duration;

/// Pauses that double, with some jitter so that volumes that failed together are not tried together for ever.
#[derive(Debug, Clone)]
pub struct BackOff {
    first: Duration,
    longest: Duration,
    random: u64,
}

impl BackOff {
    /// 0.5 s, 1 s … 2 minutes, as kubelet's (Kubernetes v1.37 `pkg/util/goroutinemap/exponentialbackoff`), each 20 % more or
    /// less. The same seed gives the same pauses.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { first: Duration::from_millis(500), longest: Duration::from_secs(120), random: seed | 1 }
    }

    /// The pause after so many failures in a row.
    #[must_use]
    pub fn pause(&mut self, failures: u32) -> Duration {
        let doubled = 1u32.checked_shl(failures.saturating_sub(1)).filter(|times| *times <= 1024);
        let pause = doubled.map_or(self.longest, |times| (self.first * times).min(self.longest));
        (pause * (80 + self.next_below(41)) / 100).min(self.longest)
    }

    /// Marsaglia's xorshift: good enough to scatter.
    fn next_below(&mut self, bound: u32) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        u32::try_from(self.random % u64::from(bound)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_half_a_second_to_two_minutes() {
        let mut back_off = BackOff::new(7);
        for (failures, milliseconds) in
            [(1, 500), (2, 1000), (3, 2000), (8, 64_000), (9, 120_000), (4_000_000, 120_000)]
        {
            let pause = back_off.pause(failures).as_millis();
            assert!((milliseconds * 8 / 10..=milliseconds * 12 / 10).contains(&pause), "{failures}: {pause}");
            assert!(pause <= 120_000);
        }
    }

    #[test]
    fn pauses_differ_and_a_seed_repeats_them() {
        let pauses = |seed| {
            let mut back_off = BackOff::new(seed);
            (0..20).map(|_| back_off.pause(3)).collect::<Vec<_>>()
        };
        assert_eq!(pauses(1), pauses(1));
        assert_ne!(pauses(1), pauses(3));
        assert!(pauses(1).windows(2).any(|two| two[0] != two[1]));
    }
}
