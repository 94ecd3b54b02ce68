//! `csi.`: what the bridge takes and what it adds to a driver. Measured by the bridge's example `bench_csi`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Group;
use super::agent_node::in_memory;
use super::discovery::on_all_cpus;
use super::figure::{Figure, Outcome};
use super::programs::Programs;
use crate::drivers::{Build, STATIC};
use crate::process;
use crate::workspace::Metadata;

const SIZE: Figure = Figure::at_most("csi.size", 5_000_000.0, "bytes");
const PAIR: Figure = Figure::at_most("csi.publish.vs-bare-driver", 1.3, "ratio");
const RESIDENT: Figure = Figure::at_most("csi.idle.resident", 6144.0, "KiB");
const AMONG: Figure = Figure::at_most("csi.publish.1000th-vs-10th", 1.15, "ratio");
const PARALLEL: Figure = Figure::at_most("csi.publish.64-at-once-vs-one", 2.0, "ratio");

const NATIVE: Figure = Figure::at_most("csi.publish.vs-native-driver", 2.0, "ratio");
/// Names a CSI driver to compare with: one that mounts memory by itself (flags -name, -node, -endpoint, -registry).
const NATIVE_DRIVER: &str = "FLEXVOL_BENCH_CSI_DRIVER";

/// The program as shipped, serving three drivers; publish and unpublish of volumes in memory.
pub(super) const GROUP: Group = Group { figures: &[SIZE, PAIR, RESIDENT, AMONG, PARALLEL, NATIVE], measure };

fn measure(programs: &Programs, report: &mut dyn FnMut(Outcome)) -> Result<()> {
    let metadata = Metadata::load()?;
    let bridge = build_bridge(&metadata)?;
    let size = fs::metadata(&bridge).with_context(|| format!("{}", bridge.display()))?.len();
    report(SIZE.value(size.to_string().parse()?));
    let native = std::env::var_os(NATIVE_DRIVER);
    let mut figures = vec![PAIR, RESIDENT, AMONG, PARALLEL];
    match native {
        Some(_) => figures.push(NATIVE),
        None => report(NATIVE.skipped("FLEXVOL_BENCH_CSI_DRIVER names no driver to compare with")),
    }
    if super::privately().is_empty()
        || process::capture(std::process::Command::new("id").arg("-u"))?.trim() != "0"
    {
        figures.iter().for_each(|figure| report(figure.skipped("needs root, to mount")));
        return Ok(());
    }
    let example = build_example(&metadata)?;
    // Records lie in memory, as in /run of a node.
    let records = tempfile::Builder::new().prefix("flexvol-bench-").tempdir_in("/dev/shm");
    let records = records.context("no file system in memory at /dev/shm")?;
    let folder = programs.scratch("csi")?;
    in_memory(&folder)?;
    let mut command = on_all_cpus();
    command.args(["unshare", "--mount", "--propagation", "private"]).arg(example);
    command.arg(folder).arg(&bridge).arg(programs.get("memory")?).arg(records.path()).args(native);
    let text = process::capture(&mut command)?;
    let words: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    if words.len() != figures.len() {
        bail!("bench_csi printed {text:?}");
    }
    figures.iter().zip(words).for_each(|(figure, value)| report(figure.value(value)));
    Ok(())
}

/// The bridge as shipped; with glibc it is larger.
fn build_bridge(metadata: &Metadata) -> Result<PathBuf> {
    let mut file = metadata.target_directory.clone();
    let mut command = on_all_cpus();
    command.arg(process::cargo().get_program()).current_dir(crate::workspace::root());
    command.args([
        "rustc",
        "--quiet",
        "--package",
        "flexvolume-csi",
        "--bin",
        "flexvol-csi",
        "--profile",
        "bridge",
    ]);
    if let Build::Shipped(Some(triple)) = Build::shipped()? {
        file.push(&triple);
        command.args(["--target", &triple]);
    }
    command.arg("--").args(STATIC.iter().flat_map(|option| ["-C", option]));
    process::run(&mut command)?;
    Ok(file.join("bridge/flexvol-csi"))
}

fn build_example(metadata: &Metadata) -> Result<PathBuf> {
    let mut command = on_all_cpus();
    command.arg(process::cargo().get_program()).current_dir(crate::workspace::root());
    command.args(["build", "--quiet", "--release", "--package", "flexvolume-csi", "--example", "bench_csi"]);
    process::run(&mut command)?;
    let example: &Path = &metadata.target_directory.join("release/examples/bench_csi");
    Ok(example.to_owned())
}
