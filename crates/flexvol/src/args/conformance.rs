//! Flags of `flexvol conformance`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use flexvolume_host::conformance::Level;

#[derive(Debug, Args)]
#[command(after_help = "\
The driver is called as hosts call it, in a private mount namespace and a temporary directory, which is also its
FLEXVOL_STATE_DIR, its TMPDIR and its working directory. What it makes elsewhere with these options is really made:
its volumes are named flexvol-conformance-…

Levels, each of which includes those before it:
  works-under-flexvol     a volume can be used, whatever flexvol has to put up with
  works-under-kubernetes  and under Kubernetes, which puts up with nothing
  robust                  and it survives repetition, crashes, hostile input, and leaves nothing behind

Exit codes: 0 the level is reached, 1 it is not, 2 the command line is wrong, 3 there is no such driver.

Examples:
  flexvol conformance flexvol/loop --options size=64Mi
  flexvol conformance ./my-driver --options server=10.0.0.1 --secret password=pw.txt --level robust
  flexvol conformance ./my-driver --options-file options.json --report junit --out conformance.xml")]
pub(crate) struct ConformanceArguments {
    /// The driver's name, vendor/driver, or the path of its program
    pub(crate) driver: String,
    /// Options of every volume
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) options: Vec<String>,
    /// JSON file with options; - for standard input. A KEY=VALUE wins over it
    #[arg(long, value_name = "FILE")]
    pub(crate) options_file: Option<PathBuf>,
    /// A secret for mount and the file that holds it; - for standard input
    #[arg(long, value_name = "KEY=FILE")]
    pub(crate) secret: Vec<String>,
    /// A variable of the driver's environment
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// File system type
    #[arg(long, value_name = "TYPE", default_value = "")]
    pub(crate) fs_type: String,
    /// Longest time for one call [default: as the driver's settings say, else 1m]
    #[arg(long, value_name = "TIME", value_parser = super::duration)]
    pub(crate) call_timeout: Option<Duration>,
    /// Settings file of the driver [default: those of its name in --settings-dir; a driver without a name has none]
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// The level that is to be reached
    #[arg(long, value_enum, default_value_t = LevelWord::WorksUnderFlexvol)]
    pub(crate) level: LevelWord,
    /// Form of the report [default: as --output]
    #[arg(long, value_enum)]
    pub(crate) report: Option<ReportFormat>,
    /// File for the report, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ConformanceFenceArguments {
    /// The directory that stays writable
    pub(crate) directory: PathBuf,
    /// The driver's program and its arguments
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

/// `--level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LevelWord {
    WorksUnderFlexvol,
    WorksUnderKubernetes,
    Robust,
}

impl From<LevelWord> for Level {
    fn from(word: LevelWord) -> Self {
        match word {
            LevelWord::WorksUnderFlexvol => Level::WorksUnderFlexvol,
            LevelWord::WorksUnderKubernetes => Level::WorksUnderKubernetes,
            LevelWord::Robust => Level::Robust,
        }
    }
}

/// `--report`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    Text,
    Json,
    Junit,
}
