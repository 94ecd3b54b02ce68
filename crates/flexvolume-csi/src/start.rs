//! From the command line to a process that serves.

use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use flexvolume_host::contract::{DriverName, NodeName};
use flexvolume_host::os::{System, atomic, namespace};
use flexvolume_host::paths;
use flexvolume_host::registry::Registry;
use flexvolume_host::settings::Settings;
use flexvolume_host::{Deadlines, Reading, VolumeHost};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::args::{Arguments, Command, Exec, LogFormat, Serve};
use crate::bridge::Surroundings;
use crate::config::Config;
use crate::drivers::{Drivers, watch};
use crate::failure::Failure;
use crate::metrics::Metrics;
use crate::secrets::SecretDesk;
use crate::serve::endpoint_path;

/// Threads for driver calls of all drivers together; they end when idle.
const THREADS: usize = 1024;
/// How long driver calls may take when the process is told to end. What is cut off then goes on by itself, and the next
/// process waits for it.
const GRACE: Duration = Duration::from_secs(5);

/// Reads the command line of this process, does what it says, and answers the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version end here too; nobody is left to hear that they could not be printed.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let done = match &arguments.command {
        Command::Serve(serve) => {
            start_log(serve.log_format);
            run(serve)
        }
        Command::Manifests(wanted) => {
            start_log(LogFormat::Text);
            crate::print::manifests(wanted)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(format: LogFormat) {
    // Plain targets and levels: the larger filter language would be a quarter of the program.
    let wanted = std::env::var("RUST_LOG").ok().and_then(|wanted| wanted.parse::<Targets>().ok());
    let filter = wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry();
    match format {
        LogFormat::Json => registry.with(log.json().with_filter(filter)).init(),
        LogFormat::Text => registry.with(log.with_ansi(false).with_filter(filter)).init(),
    }
}

fn run(serve: &Serve) -> Result<(), Failure> {
    // In a container the file is the container's, wherever drivers run.
    let config = serve.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
    if serve.exec == Exec::Host {
        // Before any thread is there: a namespace belongs to a thread.
        namespace::enter_mounts_of_init()
            .map_err(Failure::system("enter the mount namespace of", "/proc/1"))?;
    }
    let around = surroundings(serve)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .build()
        .map_err(Failure::system("start", "the runtime"))?;
    let served = runtime.block_on(serve_drivers(serve, around, config));
    runtime.shutdown_timeout(GRACE);
    served
}

fn surroundings(serve: &Serve) -> Result<Surroundings, Failure> {
    let desk = SecretDesk::default();
    let settings = Settings::in_directory(absolute(&serve.settings_dir)?);
    let host = Arc::new(VolumeHost {
        root: absolute(&serve.root)?,
        node: node_name(serve)?,
        system: System::host(),
        secrets: Arc::new(desk.clone()),
        reading: Reading::Tolerant,
        deadlines: Deadlines::default(),
        settings: Arc::new(match serve.deadline {
            Some(deadline) => settings.with_deadline(deadline),
            None => settings,
        }),
    });
    let records = match &serve.records {
        None => host.root.clone(),
        Some(records) => {
            let records = absolute(records)?;
            keep_records_in(&records, &host.root)?;
            records
        }
    };
    let plugin_dirs = serve.plugin_dir.iter().map(|dir| absolute(dir)).collect::<Result<Vec<_>, _>>()?;
    Ok(Surroundings {
        registry: Arc::new(Registry::new(Arc::clone(&host), plugin_dirs)),
        host,
        desk,
        records,
        kubelet_root: absolute(&serve.kubelet_root)?,
        mode: serve.mode,
        metrics: Arc::new(Metrics::default()),
    })
}

/// Has the host library keep its records elsewhere. Records that are below the root already stay there.
fn keep_records_in(records: &Path, root: &Path) -> Result<(), Failure> {
    let (place, link) = (records.join("host"), paths::state_dir(root));
    for (directory, mode) in [(root, 0o750), (place.as_path(), 0o700)] {
        atomic::create_directories(directory, mode)
            .map_err(Failure::system("make the directory", directory))?;
    }
    match symlink(&place, &link) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(Failure::system("link", link)),
    }
}

pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(Failure::system("find", path))
}

/// `--node-id`, or the host name, in lower case as kubelet has it.
fn node_name(serve: &Serve) -> Result<String, Failure> {
    const HOST_NAME: &str = "/proc/sys/kernel/hostname";
    let name = match &serve.node_id {
        Some(name) => name.clone(),
        None => std::fs::read_to_string(HOST_NAME)
            .map_err(Failure::system("read", HOST_NAME))?
            .trim()
            .to_lowercase(),
    };
    Ok(NodeName::parse(name)?.to_string())
}

async fn serve_drivers(serve: &Serve, around: Surroundings, config: Config) -> Result<(), Failure> {
    let endpoint = serve.endpoint.as_deref().map(endpoint_path).transpose();
    let endpoint = endpoint.map_err(|error| Failure::Flag { flag: "--endpoint", why: error.to_string() })?;
    if endpoint.is_some() && serve.driver.len() != 1 {
        let why = "one socket serves one driver: name it with --driver".to_owned();
        return Err(Failure::Flag { flag: "--endpoint", why });
    }
    if let Some(address) = serve.metrics {
        let listener = tokio::net::TcpListener::bind(address);
        let listener = listener.await.map_err(Failure::system("listen at", address.to_string()))?;
        tokio::spawn(crate::metrics::serve(listener, Arc::clone(&around.metrics)));
    }
    let (end, ending) = watch::channel(false);
    let registry = Arc::clone(&around.registry);
    let mut drivers = Drivers::new(around, config, endpoint, ending.clone());
    tokio::spawn(async move {
        match signals().await {
            Ok(()) => tracing::info!("told to end"),
            Err(error) => tracing::error!(%error, "signals cannot be waited for"),
        }
        let _ = end.send(true);
    });
    if serve.driver.is_empty() {
        drivers.follow(watch(&registry)?).await;
    } else {
        for driver in &serve.driver {
            drivers.start(&DriverName::parse(driver.as_str())?)?;
        }
        crate::serve::ended(ending).await;
    }
    drivers.end().await;
    Ok(())
}

/// Waits until somebody wants the process to end.
async fn signals() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
