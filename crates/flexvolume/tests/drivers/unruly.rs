//! A driver that does all that a driver should not; the option `do` says what.

#![expect(clippy::print_stdout, clippy::print_stderr, clippy::panic, reason = "to misbehave is its purpose")]

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use flexvolume::{Capabilities, Driver, Error, Options};

struct Unruly;

impl Driver for Unruly {
    fn init(&self) -> Result<Capabilities, Error> {
        println!("{{\"status\":\"Failure\"}}");
        eprintln!("warning: a warning");
        Ok(Capabilities::default())
    }

    fn mount(&self, mount_dir: &Path, options: &Options) -> Result<(), Error> {
        let password = options.require_secret("password")?.expose();
        let password = String::from_utf8_lossy(password).into_owned();
        match options.require("do")? {
            "print" => print(mount_dir),
            "daemon" => daemon(mount_dir),
            "descriptors" => descriptors(mount_dir),
            "fail" => Err(Error::failure(format!("login with {password} failed"))),
            "panic" => panic!("no login with {password}"),
            "panic-in-thread" => panic_in_thread(password),
            "panic-with-number" => std::panic::panic_any(5_u8),
            _ => Err(Error::failure("nothing like that")),
        }
    }
}

fn print(mount_dir: &Path) -> Result<(), Error> {
    println!("to standard output");
    eprintln!("to standard error");
    for stream in ["/proc/self/fd/1", "/proc/self/fd/2"] {
        writeln!(OpenOptions::new().write(true).open(stream)?, "by name")?;
    }
    shell("echo child; echo child >&2; echo {} > /dev/stdout", Path::new("/"))?.wait()?;
    // What is never flushed is flushed at the end of the process.
    print!("a last word");
    std::fs::write(mount_dir.join("printed"), "")?;
    Ok(())
}

fn daemon(mount_dir: &Path) -> Result<(), Error> {
    shell("echo $$ > pid.new && mv pid.new pid; exec sleep 60", mount_dir)?;
    Ok(())
}

/// Has a child list what it has inherited.
fn descriptors(mount_dir: &Path) -> Result<(), Error> {
    let list = File::create(mount_dir.join("list"))?;
    #[expect(clippy::disallowed_methods, reason = "a misbehaving driver")]
    Command::new("ls").arg("/proc/self/fd").stdout(list).spawn()?.wait()?;
    Ok(())
}

fn panic_in_thread(password: String) -> Result<(), Error> {
    let thread = std::thread::spawn(move || panic!("no login with {password}"));
    // The panic ends the process; a success here would be a second document.
    let _ = thread.join();
    Ok(())
}

fn shell(script: &str, directory: &Path) -> std::io::Result<std::process::Child> {
    #[expect(clippy::disallowed_methods, reason = "a misbehaving driver")]
    Command::new("sh").args(["-c", script]).current_dir(directory).stdin(Stdio::null()).spawn()
}

fn main() -> ExitCode {
    flexvolume::run(Unruly)
}
