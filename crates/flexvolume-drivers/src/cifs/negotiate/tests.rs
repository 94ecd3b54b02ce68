use std::io::Cursor;

use proptest::prelude::*;

use super::*;

/// A server that has said everything already, and what it was asked.
struct Script {
    says: Cursor<Vec<u8>>,
    heard: Vec<u8>,
}

impl Script {
    fn of(answer: &[u8]) -> Self {
        let length = u32::try_from(answer.len()).unwrap().to_be_bytes();
        Self { says: Cursor::new([&length[..], answer].concat()), heard: Vec::new() }
    }
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.says.read(buffer)
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.heard.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As a server with these properties answers; the contexts follow.
fn answer(dialect: u16, mode: u16, capabilities: u32, contexts: &[(u16, &[u8])]) -> Vec<u8> {
    let mut answer = vec![0; HEADER + BODY];
    answer[..6].copy_from_slice(b"\xfeSMB\x40\0");
    let mut put = |at: usize, bytes: &[u8]| answer[HEADER + at..][..bytes.len()].copy_from_slice(bytes);
    put(0, &[65, 0]);
    put(2, &mode.to_le_bytes());
    put(4, &dialect.to_le_bytes());
    put(6, &u16::try_from(contexts.len()).unwrap().to_le_bytes());
    put(24, &capabilities.to_le_bytes());
    // 2026-01-01, half a second after midnight.
    put(40, &((1_767_225_600 + EPOCH) * 10_000_000 + 5_000_000).to_le_bytes());
    put(60, &128_u32.to_le_bytes());
    for (kind, data) in contexts {
        answer.resize(answer.len().next_multiple_of(8), 0);
        context(&mut answer, *kind, data);
    }
    answer
}

#[test]
fn an_offer_is_read() {
    let new_year = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_600_500);
    let hash: &[u8] = &[1, 0, 32, 0, 1, 0, 7, 7];
    for (answer, dialect, signing, encryption) in [
        (answer(0x0210, 1, 0, &[]), Dialect::V2_1, Signing::Possible, Encryption::Impossible),
        (answer(0x0302, 3, 0x7f, &[]), Dialect::V3_0_2, Signing::Required, Encryption::Possible),
        (answer(0x0300, 1, 0x3f, &[]), Dialect::V3_0, Signing::Possible, Encryption::Impossible),
        (
            answer(0x0311, 1, 0x7f, &[(1, hash), (2, &[1, 0, 2, 0])]),
            Dialect::V3_1_1,
            Signing::Possible,
            Encryption::Possible,
        ),
        (
            answer(0x0311, 1, 0x7f, &[(2, &[1, 0, 0, 0]), (1, hash)]),
            Dialect::V3_1_1,
            Signing::Possible,
            Encryption::Impossible,
        ),
        (answer(0x0311, 1, 0x7f, &[(1, hash)]), Dialect::V3_1_1, Signing::Possible, Encryption::Impossible),
    ] {
        let mut script = Script::of(&answer);
        let offer = ask(&mut script, &Dialect::ALL).unwrap();
        assert_eq!(offer, Offer { dialect, signing, encryption, time: Some(new_year) });
    }
}

#[test]
fn the_question_is_well_formed() {
    let old = question(&[Dialect::V2_1]);
    assert_eq!((old[..4].to_vec(), old.len()), (vec![0, 0, 0, 102], 106));
    let new = question(&Dialect::ALL);
    let contexts = u32::from_le_bytes(new[4 + 64 + 28..][..4].try_into().unwrap()) as usize;
    assert_eq!((contexts % 8, &new[4 + contexts..][..4]), (0, &[1, 0, 38, 0][..]));
    assert_eq!(&new[4 + contexts + 48..], [2, 0, 10, 0, 0, 0, 0, 0, 4, 0, 2, 0, 1, 0, 4, 0, 3, 0]);
}

#[test]
fn what_is_no_offer_is_told() {
    let refused = |status: u32| {
        let mut answer = answer(0x0311, 1, 0, &[]);
        answer[8..12].copy_from_slice(&status.to_le_bytes());
        answer
    };
    for (answer, part) in [
        (b"HTTP/1.1 400 Bad Request".to_vec(), "no server of SMB"),
        (b"\xffSMB1234567890".to_vec(), "no server of SMB"),
        (vec![], "no server of SMB"),
        (refused(0xc000_00bb), "none of the dialects"),
        (refused(0xc000_0022), "0xc0000022"),
        (answer(0x02ff, 1, 0, &[]), "not offered"),
        (answer(0x0210, 1, 0, &[])[..100].to_vec(), "too short"),
    ] {
        let error = ask(&mut Script::of(&answer), &Dialect::ALL).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let mut long = Script { says: Cursor::new(vec![0, 1, 0, 1]), heard: Vec::new() };
    assert!(ask(&mut long, &Dialect::ALL).unwrap_err().to_string().contains("too long"));
    let mut http = Script { says: Cursor::new(b"HTTP".to_vec()), heard: Vec::new() };
    assert!(matches!(ask(&mut http, &Dialect::ALL), Err(NegotiateError::NotSmb)));
}

proptest! {
    #[test]
    fn no_answer_is_believed_more_than_it_says(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        dialect in prop::sample::select(&[0x0210_u16, 0x0300, 0x0311][..]),
        offset in prop::sample::select(&[0_u32, 120, 127, 128, 136, u32::MAX][..]),
    ) {
        let front = answer(dialect, 1, 0x7f, &[]);
        let count = bytes.len().min(40);
        let mut whole = front;
        whole.splice(HEADER + 60.., bytes.drain(..count));
        if whole.len() > HEADER + BODY {
            whole[HEADER + 60..][..4].copy_from_slice(&offset.to_le_bytes());
        }
        if let Ok(offer) = read(&whole) {
            prop_assert_eq!(offer.dialect.number(), dialect);
        }
        let _ = read(&bytes);
    }
}
