//! Measuring whole processes and pairs of actions.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Rounds that fill the caches of both and are not counted.
const WARM_UP: u32 = 10;

/// The wall time of one run of `program`, from before its start until it is reaped. Its streams are `/dev/null`.
pub(super) fn wall(program: &Path, arguments: &[&str], variable: Option<(&str, &Path)>) -> Result<Duration> {
    let mut command = Command::new(program);
    command.args(arguments).envs(variable).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status().with_context(|| format!("cannot start {}", program.display()))?;
    let took = start.elapsed();
    if !status.success() {
        bail!("{} {} ended with {status}", program.display(), arguments.join(" "));
    }
    Ok(took)
}

/// The median of `first` divided by the median of `second`, run in turn; every other round the other one goes first, so
/// that neither gains by its place.
pub(super) fn ratio(
    rounds: u32,
    mut first: impl FnMut() -> Result<Duration>,
    mut second: impl FnMut() -> Result<Duration>,
) -> Result<f64> {
    let (mut firsts, mut seconds) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + rounds {
        let early = if round % 2 == 1 { Some(second()?) } else { None };
        firsts.push(first()?);
        seconds.push(match early {
            Some(took) => took,
            None => second()?,
        });
        if round + 1 == WARM_UP {
            firsts.clear();
            seconds.clear();
        }
    }
    Ok(median(firsts).as_secs_f64() / median(seconds).as_secs_f64())
}

/// The median.
pub(super) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_of_medians_and_not_of_outliers() {
        let mut round = 0_u64;
        let first = || {
            round += 1;
            Ok(Duration::from_millis(if round.is_multiple_of(7) { 900 } else { 30 }))
        };
        let found = ratio(20, first, || Ok(Duration::from_millis(20))).unwrap();
        assert!((found - 1.5).abs() < 1e-9, "{found}");
    }

    #[test]
    fn a_program_that_fails_is_no_measurement() {
        assert!(wall(Path::new("false"), &[], None).is_err());
        assert!(wall(Path::new("true"), &[], None).unwrap() > Duration::ZERO);
    }
}
