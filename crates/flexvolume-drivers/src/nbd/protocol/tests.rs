use std::io::Cursor;

use proptest::prelude::*;

use super::super::refusal::Kind;
use super::*;

/// A server that has said everything already; keeps what it hears.
struct Script {
    says: Cursor<Vec<u8>>,
    heard: Vec<u8>,
}

impl Script {
    fn new(says: &[u8]) -> Self {
        Self { says: Cursor::new(says.to_vec()), heard: Vec::new() }
    }
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.says.read(buffer)
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.heard.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn answer(option: u32, kind: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = REPLY_MAGIC.to_be_bytes().to_vec();
    bytes.extend(option.to_be_bytes());
    bytes.extend(kind.to_be_bytes());
    bytes.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend(data);
    bytes
}

fn export_info(size: u64, flags: u16) -> Vec<u8> {
    [&[0, 0][..], &size.to_be_bytes(), &flags.to_be_bytes()].concat()
}

fn block_info(minimum: u32) -> Vec<u8> {
    [&[0, 3][..], &minimum.to_be_bytes(), &4096_u32.to_be_bytes(), &(32_u32 << 20).to_be_bytes()].concat()
}

#[test]
fn the_greeting_has_these_bytes() {
    let mut script = Script::new(b"NBDMAGICIHAVEOPT\0\x03");
    greet(&mut script).unwrap();
    assert_eq!(script.heard, [0, 0, 0, 3]);
    let mut script = Script::new(b"NBDMAGICIHAVEOPT\0\x01");
    greet(&mut script).unwrap();
    assert_eq!(script.heard, [0, 0, 0, 1]);
}

#[test]
fn what_is_no_server_of_today_is_told_apart() {
    let greeted = |says: &[u8]| greet(&mut Script::new(says)).unwrap_err();
    assert!(matches!(greeted(b"SSH-2.0-OpenSSH_9.2p1\r\n"), ProtocolError::NotNbd));
    assert!(matches!(greeted(b"NBDMAGICanything"), ProtocolError::NotNbd));
    assert!(matches!(greeted(b"NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53"), ProtocolError::OldStyle(_)));
    assert!(matches!(greeted(b"NBDMAGICIHAVEOPT\0\0"), ProtocolError::OldStyle(_)));
    assert!(matches!(greeted(b"NBDMAG"), ProtocolError::Io(_)));
    assert!(matches!(greeted(b""), ProtocolError::Io(_)));
}

#[test]
fn an_export_is_asked_for_by_its_name() {
    let says = [
        answer(OPTION_GO, REPLY_INFO, &export_info(64 << 20, 0x10d)),
        answer(OPTION_GO, REPLY_INFO, b"\0\x01name"),
        answer(OPTION_GO, REPLY_INFO, &block_info(1)),
        answer(OPTION_GO, REPLY_ACK, b""),
    ];
    let mut script = Script::new(&says.concat());
    let export = choose(&mut script, "a/ü", Intent::Use).unwrap();
    assert_eq!(export, Export { size: 64 << 20, flags: 0x10d, minimum_block: Some(1) });
    assert!(!export.is_read_only());
    assert_eq!(script.heard, b"IHAVEOPT\0\0\0\x07\0\0\0\x0c\0\0\0\x04a/\xc3\xbc\0\x01\0\x03");
}

#[test]
fn a_look_asks_another_question() {
    let says = [
        answer(OPTION_INFO, REPLY_INFO, &export_info(1, Export::READ_ONLY)),
        answer(OPTION_INFO, REPLY_ACK, b""),
    ];
    let mut script = Script::new(&says.concat());
    let export = choose(&mut script, "", Intent::Look).unwrap();
    assert!(export.is_read_only() && export.minimum_block.is_none());
    assert!(script.heard.starts_with(b"IHAVEOPT\0\0\0\x06"));
    abort(&mut script);
    assert!(script.heard.ends_with(b"IHAVEOPT\0\0\0\x02\0\0\0\0"));
}

#[test]
fn a_refusal_is_told_in_words() {
    for (number, kind) in [(2, Kind::Policy), (5, Kind::TlsRequired), (6, Kind::UnknownExport)] {
        let says = answer(OPTION_GO, REPLY_ERROR | number, b"because");
        let Err(ProtocolError::Refused(refusal)) = choose(&mut Script::new(&says), "x", Intent::Use) else {
            panic!("not refused");
        };
        assert_eq!((refusal.kind, &*refusal.text), (kind, "because"));
    }
}

#[test]
fn a_server_that_breaks_the_protocol_is_left() {
    let whole = answer(OPTION_GO, REPLY_INFO, &export_info(1, 1));
    let long = [&answer(OPTION_GO, REPLY_INFO, b"")[..16], &u32::MAX.to_be_bytes()].concat();
    for (says, why) in [
        (answer(OPTION_GO, REPLY_ACK, b""), "size"),
        (answer(OPTION_INFO, REPLY_ACK, b""), "not asked"),
        (answer(OPTION_GO, 77, b""), "unknown kind"),
        (answer(OPTION_GO, REPLY_INFO, b"\0"), "wrong length"),
        (answer(OPTION_GO, REPLY_INFO, b"\0\0\0"), "wrong length"),
        (answer(OPTION_GO, REPLY_INFO, &[&export_info(1, 1)[..], b"x"].concat()), "wrong length"),
        (answer(OPTION_GO, REPLY_INFO, b"\0\x03\0\0\0\x01"), "wrong length"),
        (long, "too long"),
        (vec![0; 20], "wrong number"),
        (whole.repeat(MOST_REPLIES + 1), "come to an end"),
    ] {
        let error = choose(&mut Script::new(&says), "x", Intent::Use).unwrap_err();
        assert!(matches!(error, ProtocolError::Broken(_)) && error.to_string().contains(why), "{error}");
    }
}

#[test]
fn a_list_is_bounded() {
    let entry = |name: &str| {
        let length = u32::try_from(name.len()).unwrap().to_be_bytes();
        answer(OPTION_LIST, REPLY_SERVER, &[&length[..], name.as_bytes(), b"a description"].concat())
    };
    let says = [entry("one"), entry(""), entry("three"), answer(OPTION_LIST, REPLY_ACK, b"")].concat();
    assert_eq!(list(&mut Script::new(&says), 9).unwrap(), ["one", "", "three"]);
    assert_eq!(list(&mut Script::new(&says), 2).unwrap(), ["one", ""]);
    list(&mut Script::new(&entry("x").repeat(MOST_REPLIES + 1)), 9).unwrap_err();
    list(&mut Script::new(&answer(OPTION_LIST, REPLY_SERVER, b"\0\0\0\x09short")), 9).unwrap_err();
}

#[test]
fn a_read_is_one_question_and_its_answer() {
    let mut says = SIMPLE_REPLY_MAGIC.to_be_bytes().to_vec();
    says.extend([0; 4]);
    says.extend(COOKIE.to_be_bytes());
    says.extend(b"data");
    let mut script = Script::new(&says);
    let mut buffer = [0; 4];
    read(&mut script, 1024, &mut buffer).unwrap();
    assert_eq!(&buffer, b"data");
    assert_eq!(script.heard, b"\x25\x60\x95\x13\0\0\0\0flexvol1\0\0\0\0\0\0\x04\0\0\0\0\x04");
    says[7] = 5;
    assert!(matches!(read(&mut Script::new(&says), 0, &mut buffer), Err(ProtocolError::Read(5))));
    says[8] = 0;
    assert!(matches!(read(&mut Script::new(&says), 0, &mut buffer), Err(ProtocolError::Broken(_))));
    let mut script = Script::new(b"");
    disconnect(&mut script);
    assert_eq!(script.heard, b"\x25\x60\x95\x13\0\0\0\x02flexvol1\0\0\0\0\0\0\0\0\0\0\0\0");
}

proptest! {
    #[test]
    fn no_server_makes_it_panic_or_wait_for_more_than_it_may_say(
        good in prop::sample::subsequence(vec![0_usize, 1, 2, 3], 0..4),
        noise: Vec<u8>,
        at: prop::sample::Index,
    ) {
        let pieces = [
            answer(OPTION_GO, REPLY_INFO, &export_info(5, 1)),
            answer(OPTION_GO, REPLY_INFO, &block_info(512)),
            answer(OPTION_GO, REPLY_ERROR | 2, b"no"),
            answer(OPTION_GO, REPLY_ACK, b""),
        ];
        let mut says: Vec<u8> = good.into_iter().flat_map(|piece| pieces[piece].clone()).collect();
        let at = at.index(says.len() + 1);
        says.splice(at..at, noise);
        let mut script = Script::new(&says);
        if let Ok(export) = choose(&mut script, "x", Intent::Use) {
            prop_assert!(script.says.position() >= 20, "{export:?}");
        }
        let _ = list(&mut Script::new(&says), 3);
        let _ = greet(&mut Script::new(&says));
        let _ = read(&mut Script::new(&says), 0, &mut [0; 64]);
    }
}
