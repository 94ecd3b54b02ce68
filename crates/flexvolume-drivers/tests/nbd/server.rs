//! A small NBD server with moods, for tests: it refuses, falls silent, dies, and comes back with something else.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;

/// How it is disposed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// Takes connections and says nothing; answers no request.
    Silent,
    /// Answers every question with this error of the protocol.
    Refusing(u32),
}

struct State {
    exports: Mutex<HashMap<String, PathBuf>>,
    mood: Mutex<Mood>,
    read_only: AtomicBool,
    /// Counts the chosen exports.
    uses: AtomicUsize,
    connections: Mutex<Vec<Stream>>,
    /// Closes the listener.
    ended: AtomicBool,
    /// Connections see the size that the export had when they were made, as with nbd-server.
    sizes_are_fixed: AtomicBool,
}

pub(crate) struct Server {
    state: Arc<State>,
    place: Place,
    listening: Option<thread::JoinHandle<()>>,
}

#[derive(Clone)]
enum Place {
    Tcp(u16),
    Unix(PathBuf),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn again(&self) -> Self {
        match self {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone().unwrap()),
            Stream::Unix(stream) => Stream::Unix(stream.try_clone().unwrap()),
        }
    }

    fn close(&self) {
        let _ = match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Server {
    /// On a port of the loopback interface.
    pub(crate) fn tcp() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::start(Place::Tcp(port))
    }

    pub(crate) fn unix(path: &Path) -> Self {
        Self::start(Place::Unix(path.to_owned()))
    }

    fn start(place: Place) -> Self {
        let state = State {
            exports: Mutex::default(),
            mood: Mutex::new(Mood::Well),
            read_only: AtomicBool::new(false),
            uses: AtomicUsize::new(0),
            connections: Mutex::default(),
            ended: AtomicBool::new(false),
            sizes_are_fixed: AtomicBool::new(false),
        };
        let mut server = Self { state: Arc::new(state), place, listening: None };
        server.come_back();
        server
    }

    pub(crate) fn export(&self, name: &str, file: &Path) {
        self.state.exports.lock().unwrap().insert(name.to_owned(), file.to_owned());
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        *self.state.mood.lock().unwrap() = mood;
    }

    pub(crate) fn serve_read_only(&self) {
        self.state.read_only.store(true, Ordering::SeqCst);
    }

    pub(crate) fn fix_sizes(&self) {
        self.state.sizes_are_fixed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn uses(&self) -> usize {
        self.state.uses.load(Ordering::SeqCst)
    }

    /// The options that lead to an export.
    pub(crate) fn options(&self, export: &str) -> Vec<(&'static str, String)> {
        let mut options = vec![("export", export.to_owned())];
        match &self.place {
            Place::Tcp(port) => {
                options.extend([("server", "127.0.0.1".to_owned()), ("port", port.to_string())]);
            }
            Place::Unix(path) => options.push(("socket", path.to_str().unwrap().to_owned())),
        }
        options
    }

    /// Closes everything, as a server that is killed.
    pub(crate) fn die(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        match &self.place {
            Place::Tcp(port) => drop(TcpStream::connect(("127.0.0.1", *port))),
            Place::Unix(path) => drop(UnixStream::connect(path)),
        }
        if let Some(listening) = self.listening.take() {
            listening.join().unwrap();
        }
        for connection in self.state.connections.lock().unwrap().drain(..) {
            connection.close();
        }
    }

    /// Comes back if it has died.
    pub(crate) fn revive(&mut self) {
        if self.listening.is_none() {
            self.come_back();
        }
    }

    pub(crate) fn come_back(&mut self) {
        self.state.ended.store(false, Ordering::SeqCst);
        self.set_mood(Mood::Well);
        let state = Arc::clone(&self.state);
        let accept: Box<dyn Fn() -> io::Result<Stream> + Send> = match &self.place {
            Place::Tcp(port) => {
                // A port is free again a moment after its connections are closed.
                let listener = retry(|| TcpListener::bind(("127.0.0.1", *port)));
                Box::new(move || listener.accept().map(|(stream, _)| Stream::Tcp(stream)))
            }
            Place::Unix(path) => {
                let _ = std::fs::remove_file(path);
                let listener = UnixListener::bind(path).unwrap();
                Box::new(move || listener.accept().map(|(stream, _)| Stream::Unix(stream)))
            }
        };
        self.listening = Some(thread::spawn(move || {
            while let Ok(stream) = accept() {
                if state.ended.load(Ordering::SeqCst) {
                    return;
                }
                state.connections.lock().unwrap().push(stream.again());
                let state = Arc::clone(&state);
                thread::spawn(move || {
                    let again = stream.again();
                    let _ = serve(&state, stream);
                    again.close();
                });
            }
        }));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.die();
    }
}

fn retry<T>(mut bind: impl FnMut() -> io::Result<T>) -> T {
    for _ in 0..400 {
        if let Ok(bound) = bind() {
            return bound;
        }
        thread::sleep(Duration::from_millis(50));
    }
    bind().unwrap()
}

/// Holds a thread up while the server says nothing.
fn wait_while_silent(state: &State) {
    while *state.mood.lock().unwrap() == Mood::Silent && !state.ended.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(10));
    }
}

fn number<const N: usize>(stream: &mut Stream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn serve(state: &State, mut stream: Stream) -> io::Result<()> {
    wait_while_silent(state);
    stream.write_all(b"NBDMAGICIHAVEOPT\0\x03")?;
    number::<4>(&mut stream)?;
    loop {
        let _magic = number::<8>(&mut stream)?;
        let option = u32::from_be_bytes(number(&mut stream)?);
        let length = u32::from_be_bytes(number(&mut stream)?);
        let mut data = vec![0; length as usize];
        stream.read_exact(&mut data)?;
        let mut answer = |kind: u32, data: &[u8]| {
            let mut bytes = REPLY_MAGIC.to_be_bytes().to_vec();
            bytes.extend(option.to_be_bytes());
            bytes.extend(kind.to_be_bytes());
            bytes.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
            bytes.extend(data);
            stream.write_all(&bytes)
        };
        wait_while_silent(state);
        if let Mood::Refusing(error) = *state.mood.lock().unwrap() {
            answer(1 << 31 | error, b"not today")?;
            continue;
        }
        match option {
            2 => return answer(1, b""),
            3 => {
                for name in state.exports.lock().unwrap().keys() {
                    let length = u32::try_from(name.len()).unwrap().to_be_bytes();
                    answer(2, &[&length[..], name.as_bytes()].concat())?;
                }
                answer(1, b"")?;
            }
            6 | 7 => {
                let length = u32::from_be_bytes(data[..4].try_into().unwrap()) as usize;
                let name = std::str::from_utf8(&data[4..4 + length]).unwrap();
                let Some(path) = state.exports.lock().unwrap().get(name).cloned() else {
                    answer(1 << 31 | 6, b"")?;
                    continue;
                };
                let size = std::fs::metadata(&path)?.len();
                let read_only = state.read_only.load(Ordering::SeqCst);
                // Flags, flush, FUA, trim.
                let flags = 0x2d_u16 | if read_only { 2 } else { 0 };
                answer(3, &[&[0, 0][..], &size.to_be_bytes(), &flags.to_be_bytes()].concat())?;
                answer(1, b"")?;
                if option == 7 {
                    state.uses.fetch_add(1, Ordering::SeqCst);
                    let file = OpenOptions::new().read(true).write(!read_only).open(path)?;
                    return transmit(state, &mut stream, &file, size);
                }
            }
            _ => answer(1 << 31 | 1, b"")?,
        }
    }
}

fn transmit(state: &State, stream: &mut Stream, file: &File, size: u64) -> io::Result<()> {
    loop {
        let header = number::<28>(stream)?;
        let kind = u16::from_be_bytes(header[6..8].try_into().unwrap());
        let offset = u64::from_be_bytes(header[16..24].try_into().unwrap());
        let length = u32::from_be_bytes(header[24..28].try_into().unwrap()) as usize;
        let mut data = vec![0; if kind < 2 { length } else { 0 }];
        if kind == 1 {
            stream.read_exact(&mut data)?;
        }
        wait_while_silent(state);
        if state.ended.load(Ordering::SeqCst) || kind == 2 {
            return Ok(());
        }
        let beyond = state.sizes_are_fixed.load(Ordering::SeqCst) && offset + length as u64 > size;
        let done = match kind {
            _ if beyond => Err(io::Error::other("beyond the end")),
            0 => file.read_exact_at(&mut data, offset),
            1 => file.write_all_at(&data, offset),
            3 => file.sync_data(),
            _ => Ok(()),
        };
        let mut reply = 0x6744_6698_u32.to_be_bytes().to_vec();
        reply.extend(if done.is_ok() { 0_u32 } else { 22 }.to_be_bytes());
        reply.extend(&header[8..16]);
        if kind == 0 && done.is_ok() {
            reply.extend(&data);
        }
        stream.write_all(&reply)?;
    }
}
