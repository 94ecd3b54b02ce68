//! The tests that need the machine: many in one boot, a line for each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::control::{Access, Share};
use super::image::Image;
use super::machine::{End, Machine, Stream};
use super::programs::{self, TestProgram};
use super::report::Report;
use super::{faults, make_disk};
use crate::keeper::Kept;
use crate::process;

/// How much is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// What runs before every change.
    Quick,
    /// Everything.
    Full,
}

/// Test programs that find in the machine what they lack elsewhere. The others pass there as they do on any Linux; a full
/// run shows that.
const QUICK: [&str; 7] = ["cifs", "faults", "filesystem", "iscsi", "lvm", "nbd", "network_faults"];

/// Of the tests of iSCSI, those that run in the quick set: the others take minutes.
const QUICK_ISCSI: &str = "attach:: fence::a_second_node life::a_volume_lives";

/// What the tests of volume groups use, and, for what must survive a power cut, a third one.
const DISKS: [(&str, u64); 3] = [("disk1", 2 << 30), ("disk2", 256 << 20), ("disk3", 2 << 30)];

impl Length {
    fn includes(self, program: &TestProgram) -> bool {
        self == Length::Full || QUICK.contains(&&*program.name)
    }

    fn deadline(self) -> Duration {
        match self {
            Length::Quick => Duration::from_secs(25 * 60),
            Length::Full => Duration::from_secs(3 * 60 * 60),
        }
    }
}

/// The tests, and the machine that runs them.
struct Suite {
    length: Length,
    folder: PathBuf,
    report: Report,
}

/// Runs the tests, and closes with the counts.
pub(super) fn run(length: Length, missing: Option<String>) -> Result<ExitCode> {
    let mut report = Report::default();
    if let Some(why) = missing {
        report.skip("vm", &why);
        return Ok(report.close());
    }
    let start = Instant::now();
    Image::get()?;
    spent("disk image", start);
    let start = Instant::now();
    let mut programs = programs::build()?;
    programs.retain(|program| length.includes(program));
    let pods = if length == Length::Full { programs::build_pods()? } else { Vec::new() };
    spent("building", start);
    let kept = Kept::new("flexvol-vm-")?;
    let mut suite = Suite { length, folder: kept.folder().to_owned(), report };
    let result = suite.all(&programs, &pods);
    kept.clean()?;
    result?;
    Ok(suite.report.close())
}

fn spent(what: &str, start: Instant) {
    println!("{what:<14} {:>7.1} s", start.elapsed().as_secs_f64());
}

impl Suite {
    /// The matrix first: it takes longest, and becomes a document.
    fn all(&mut self, programs: &[TestProgram], pods: &[TestProgram]) -> Result<()> {
        let (matrix, rest): (Vec<_>, Vec<_>) =
            programs.iter().cloned().partition(|program| program.name == faults::PROGRAM);
        if self.length == Length::Quick {
            self.tests(programs)?;
            return matrix.iter().try_for_each(|program| self.two_lives(program));
        }
        self.tests(&matrix)?;
        matrix.iter().try_for_each(|program| self.two_lives(program))?;
        document()?;
        self.tests(&rest)?;
        network_document()?;
        let (powerless, pods): (Vec<_>, Vec<_>) =
            pods.iter().cloned().partition(|program| program.name == "lvm_pod");
        self.tests(&pods)?;
        powerless.iter().try_for_each(|program| self.two_lives(program))
    }

    /// A machine with new disks.
    fn machine(&self, name: &str) -> Result<Machine> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut machine = Machine::new(Image::get()?, &folder);
        machine.mark = self.folder.clone();
        machine.deadline = self.length.deadline();
        for (name, size) in DISKS {
            let file = folder.join(name);
            make_disk(&file, size)?;
            machine.disks.push(file);
        }
        // A full run may be told to try less, or to walk further.
        let asked = |name: &str| std::env::var(name).ok().map(|value| (name.to_owned(), value));
        if self.length == Length::Full {
            let folder = results();
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            machine.environment.push(("FLEXVOL_FAULTS_DIR".to_owned(), folder.display().to_string()));
            machine.shares.push(Share { folder, access: Access::Write });
        }
        let ways = asked(faults::WAYS).filter(|_| self.length == Length::Full);
        machine.environment.push(ways.unwrap_or_else(|| faults::ways(self.length)));
        machine.environment.extend(asked("FLEXVOL_WALK"));
        machine.environment.extend(asked("FLEXVOL_WALK_SEED"));
        Ok(machine)
    }

    /// One boot that runs all these programs.
    fn tests(&mut self, programs: &[TestProgram]) -> Result<()> {
        let mut machine = self.machine(&format!("tests{}", programs.len()))?;
        let programs: Vec<_> = programs.iter().map(|program| self.command(program)).collect();
        self.boot("tests", &mut machine, (&programs.concat(), End::Status(0)))
    }

    /// Two lives of one machine: in the first its power is cut.
    fn two_lives(&mut self, program: &TestProgram) -> Result<()> {
        let mut machine = self.machine(&format!("{}-cut", program.name))?;
        let command = self.command(program);
        for (life, end) in [("before", End::PowerCut), ("after", End::Status(0))] {
            machine.environment.push(("FLEXVOL_POWER_CUT".to_owned(), life.to_owned()));
            self.boot(&format!("{life} the cut"), &mut machine, (&command, end))?;
            machine.environment.pop();
        }
        Ok(())
    }

    /// Boots and runs a script, which must come to this end.
    fn boot(&mut self, what: &str, machine: &mut Machine, (script, end): (&str, End)) -> Result<()> {
        let start = Instant::now();
        let command = ["sh".into(), "-c".into(), script.into()];
        let report = &mut self.report;
        report.switched_on();
        let run = machine.run(&command, &mut |stream: Stream, bytes| report.take(stream, bytes))?;
        report.switched_off(end);
        if run.end != end {
            run.explain();
            report.fail(&format!("the machine for {what}: {:?} instead of {end:?}", run.end));
        }
        spent(what, start);
        Ok(())
    }

    /// What the guest runs for a program, with the words that tell the reader which one it is and how it ended.
    fn command(&self, program: &TestProgram) -> String {
        let file = process::quote(&program.file.to_string_lossy());
        let only = match (&*program.name, self.length) {
            (faults::PROGRAM, length) => faults::filters(length),
            ("iscsi", Length::Quick) => QUICK_ISCSI,
            // The quick rows; those of the other drivers take minutes more.
            ("network_faults", Length::Quick) => "nfs",
            _ => "",
        };
        format!(
            "echo '     Running {}' {file}\n{file} --test-threads=1 --show-output {only}; echo \"vm: ended with $?\"\n",
            program.name
        )
    }
}

/// Where the matrix leaves what becomes a document. A later run of some of its cells finds what is known of the others.
fn results() -> PathBuf {
    crate::workspace::root().join("target/faults")
}

/// Writes the documents of the matrices.
pub(super) fn document() -> Result<()> {
    network_document()?;
    faults::write_document(&results())
}

/// Writes the one of the drivers of remote storage.
fn network_document() -> Result<()> {
    faults::write_network_document(&results())
}

/// The folder of the documents.
pub(super) fn documents() -> PathBuf {
    Path::new(crate::workspace::root()).join("docs")
}
