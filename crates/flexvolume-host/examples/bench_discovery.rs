//! What finding drivers costs, for `cargo xtask bench`.
//!
//! `bench_discovery FOLDER PROGRAM COUNT` installs the driver PROGRAM COUNT times below FOLDER and prints four figures:
//! the time until all have answered `init`, divided by that of one after another, as Kubernetes does it; how many `init`s
//! one changed driver causes; the milliseconds until it is usable, counted from the end of the settle delay; and the
//! milliseconds that a driver whose `init` hangs adds to the look-up of another one, at the 90th percentile.
//!
//! `bench_discovery start FOLDER PROGRAM COUNT` prints only the median milliseconds until all have answered `init`.
#![expect(clippy::print_stdout, reason = "it prints what it measures")]

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flexvolume_host::contract::DriverName;
use flexvolume_host::os::System;
use flexvolume_host::os::command::Command;
use flexvolume_host::os::runner::{Output, Runner, StartError};
use flexvolume_host::registry::{DriverEvent, Registry, Watcher};
use flexvolume_host::{Deadlines, Reading, SecretError, SecretObject, SecretSource, VolumeHost};

const SETTLE: Duration = Duration::from_millis(200);
const ROUNDS: usize = 5;
const LOOK_UPS: usize = 100;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (only_start, folder, program, count) = match words[..] {
        ["start", folder, program, count] => (true, folder, program, count),
        [folder, program, count] => (false, folder, program, count),
        _ => return Err("see the head of bench_discovery.rs for the arguments".into()),
    };
    let bench = Bench { plugin_dir: Path::new(folder).join("many"), program: PathBuf::from(program) };
    let count: usize = count.parse()?;
    for number in 0..count {
        bench.install(number)?;
    }
    if only_start {
        let times: Vec<_> = (0..ROUNDS).map(|_| bench.together(count)).collect::<Result<_>>()?;
        println!("{:.3}", percentile(times.into_iter().map(milliseconds).collect(), 50));
        return Ok(());
    }
    let start = bench.start(count)?;
    let (inits, usable) = bench.change(count)?;
    let delay = bench.hang(count)?;
    println!("{start:.4} {inits} {:.3} {delay:.3}", milliseconds(usable));
    Ok(())
}

struct Bench {
    plugin_dir: PathBuf,
    program: PathBuf,
}

impl Bench {
    /// Puts a driver into place, in one step, as a new file or over the one that was there.
    fn install(&self, number: usize) -> Result<()> {
        let directory = self.plugin_dir.join(format!("example.com~d{number}"));
        fs::create_dir_all(&directory)?;
        let temporary = directory.join(".new");
        fs::copy(&self.program, &temporary)?;
        fs::rename(temporary, directory.join(format!("d{number}")))?;
        Ok(())
    }

    fn registry(&self, reading: Reading) -> (Arc<Registry>, Arc<AtomicUsize>) {
        let mut system = System::host();
        let runs = Arc::new(AtomicUsize::new(0));
        system.runner = Arc::new(Counted { inner: system.runner, runs: Arc::clone(&runs) });
        let host = Arc::new(VolumeHost {
            root: self.plugin_dir.join(".root"),
            node: "bench".to_owned(),
            system,
            secrets: Arc::new(NoSecrets),
            reading,
            settings: Arc::default(),
            deadlines: Deadlines { question: Duration::from_secs(20), ..Deadlines::default() },
        });
        (Arc::new(Registry::new(host, vec![self.plugin_dir.clone()])), runs)
    }

    /// All `init`s side by side against one after another, in turn.
    fn start(&self, count: usize) -> Result<f64> {
        let mut ratios = Vec::new();
        for _ in 0..ROUNDS {
            let (registry, _) = self.registry(Reading::Strict);
            let begun = Instant::now();
            registry.start();
            let sequential = begun.elapsed();
            let together = self.together(count)?;
            ratios.push(together.as_secs_f64() / sequential.as_secs_f64());
        }
        Ok(percentile(ratios, 50))
    }

    /// The time until all have answered `init`, side by side.
    fn together(&self, count: usize) -> Result<Duration> {
        let (registry, runs) = self.registry(Reading::Tolerant);
        let begun = Instant::now();
        let (plugins, _) = registry.list();
        let together = begun.elapsed();
        if plugins.len() != count || runs.load(Ordering::Relaxed) != count {
            return Err(format!("{} of {count} drivers are usable", plugins.len()).into());
        }
        Ok(together)
    }

    /// One driver changes.
    fn change(&self, count: usize) -> Result<(usize, Duration)> {
        let (registry, runs) = self.registry(Reading::Tolerant);
        let mut watcher = registry.watch(SETTLE)?;
        await_events(&mut watcher, count)?;
        let before = runs.load(Ordering::Relaxed);
        let begun = Instant::now();
        self.install(count / 2)?;
        let events = await_events(&mut watcher, 1)?;
        let usable = begun.elapsed().saturating_sub(SETTLE);
        let late = watcher.poll(SETTLE * 2)?;
        if !matches!(events[..], [DriverEvent::Updated(_)]) || !late.is_empty() {
            return Err(format!("{events:?} and {late:?} instead of one update").into());
        }
        Ok((runs.load(Ordering::Relaxed) - before, usable))
    }

    /// Look-ups of new drivers, with `init`, while one hangs and while none does.
    fn hang(&self, count: usize) -> Result<f64> {
        let without = self.look_ups(count)?;
        let directory = self.plugin_dir.join("example.com~hangs");
        fs::create_dir_all(&directory)?;
        let program = directory.join("hangs");
        fs::write(&program, "#!/bin/sh\nexec sleep 3\n")?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        let with = self.look_ups(count)?;
        Ok((with - without).max(0.0))
    }

    fn look_ups(&self, count: usize) -> Result<f64> {
        let (registry, _) = self.registry(Reading::Tolerant);
        let hangs = DriverName::parse("example.com/hangs")?;
        let asked = Arc::clone(&registry);
        let hanging = std::thread::spawn(move || drop(asked.find_by_name(&hangs)));
        std::thread::sleep(Duration::from_millis(100));
        let mut times = Vec::new();
        for number in 0..LOOK_UPS.min(count) {
            let name = DriverName::parse(format!("example.com/d{number}"))?;
            let begun = Instant::now();
            registry.find_by_name(&name)?;
            times.push(milliseconds(begun.elapsed()));
        }
        // No program is left behind.
        hanging.join().map_err(|_| "the look-up of the driver that hangs panicked")?;
        Ok(percentile(times, 90))
    }
}

fn await_events(watcher: &mut Watcher, count: usize) -> Result<Vec<DriverEvent>> {
    let mut events = Vec::new();
    let end = Instant::now() + Duration::from_secs(60);
    while events.len() < count {
        if Instant::now() > end {
            return Err(format!("{} of {count} events", events.len()).into());
        }
        events.extend(watcher.poll(Duration::from_secs(1))?);
    }
    Ok(events)
}

fn percentile(mut figures: Vec<f64>, percent: usize) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[(figures.len() - 1) * percent / 100]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Counts what is run.
struct Counted {
    inner: Arc<dyn Runner>,
    runs: Arc<AtomicUsize>,
}

impl Runner for Counted {
    fn run(&self, command: &Command) -> std::result::Result<Output, StartError> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.inner.run(command)
    }
}

struct NoSecrets;

impl SecretSource for NoSecrets {
    fn secret(&self, _: &str, name: &str) -> std::result::Result<SecretObject, SecretError> {
        Err(SecretError::NotFound { name: name.to_owned() })
    }
}
