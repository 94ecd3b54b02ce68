//! Header blocks that are written anew.

use loona_hpack::Encoder;
use proptest::prelude::*;

use super::*;

const PATH: &[u8] = b"%2Fvar%2Flib%2Fkubelet%2Fplugins_registry%2Fx-reg.sock";

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags, 0, 0, 0, stream]);
    frame.extend(payload);
    frame
}

fn fields() -> Vec<(&'static [u8], &'static [u8])> {
    vec![
        (b":method", b"POST"),
        (b":path", b"/pluginregistration.Registration/GetInfo"),
        (b":authority", PATH),
        (b"user-agent", b"grpc-go/1.72.1"),
    ]
}

/// The fields as a client sends them first, to be remembered.
fn remembered() -> Vec<u8> {
    let mut block = vec![0x83];
    for (place, (_, value)) in [0x44, 0x41, 0x7a].into_iter().zip(&fields()[1..]) {
        block.push(place);
        write_string(&mut block, value);
    }
    block
}

fn rewritten(bytes: &[u8], at_a_time: usize) -> Vec<u8> {
    let mut rewriter = Rewriter::new();
    rewriter.preface = 0;
    bytes.chunks(at_a_time).for_each(|some| rewriter.take(some));
    rewriter.ready
}

/// The fields of each HEADERS frame, read without a table.
fn read(bytes: &[u8]) -> Vec<Vec<(Vec<u8>, Vec<u8>)>> {
    let (mut rest, mut blocks) = (bytes, Vec::new());
    while let Some(length) = frame_length(rest) {
        let (frame, after) = rest.split_at(length);
        if frame[3] == HEADERS {
            assert_eq!(frame[4] & END_HEADERS, END_HEADERS);
            blocks.push(Decoder::new().decode(&frame[FRAME_HEADER..]).unwrap());
        }
        rest = after;
    }
    assert_eq!(rest, b"");
    blocks
}

#[test]
fn the_authority_is_replaced_and_nothing_else() {
    let data = frame(0, 1, 1, b"\0\0\0\0\0");
    let mut bytes = frame(HEADERS, END_HEADERS, 1, &remembered());
    bytes.extend(&data);
    // The second time the client says no more than where all of it stands in the tables.
    let second = [0x83, 0xc0, 0xbf, 0xbe];
    let (first_part, last_part) = second.split_at(2);
    let mut padded = vec![3, 0, 0, 0, 0, 16];
    padded.extend(first_part);
    padded.extend([0; 3]);
    bytes.extend(frame(HEADERS, PADDED | PRIORITY | END_STREAM, 3, &padded));
    bytes.extend(frame(CONTINUATION, END_HEADERS, 3, last_part));
    let mut expected: Vec<_> = fields().iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    expected[2].1 = AUTHORITY.to_vec();
    for at_a_time in [1, 7, 10_000] {
        let rewritten = rewritten(&bytes, at_a_time);
        assert_eq!(read(&rewritten), [expected.clone(), expected.clone()]);
        assert!(rewritten.windows(data.len()).any(|window| window == data));
        // The end of the second stream is kept.
        assert!(rewritten.ends_with(&written(&expected)));
        let last = rewritten.len() - written(&expected).len() - FRAME_HEADER;
        assert_eq!(rewritten[last + 4], END_HEADERS | END_STREAM);
    }
}

#[test]
fn long_values_stay_whole() {
    let long = vec![b'x'; 5000];
    let mut encoder = Encoder::new();
    let block = encoder.encode([(&b"long"[..], &long[..])]);
    let blocks = read(&rewritten(&frame(HEADERS, END_HEADERS, 1, &block), 4096));
    assert_eq!(blocks, [[(b"long".to_vec(), long)]]);
}

#[test]
fn what_is_not_understood_passes_as_it_came() {
    let nonsense = frame(HEADERS, END_HEADERS, 1, &[0xff; 20]);
    let interrupted = [frame(HEADERS, 0, 1, b""), frame(0, 0, 1, b"data")].concat();
    let huge = frame(0, 0, 1, &vec![0; LARGEST_FRAME + 1]);
    let padding = frame(HEADERS, END_HEADERS | PADDED, 1, &[9, 0]);
    let mut endless = frame(HEADERS, 0, 1, b"");
    (0..20).for_each(|_| endless.extend(frame(CONTINUATION, 0, 1, &[0; 1000])));
    for bytes in [nonsense, interrupted, huge, padding, endless] {
        assert_eq!(rewritten(&bytes, 999), bytes);
    }
}

proptest! {
    #[test]
    fn foreign_bytes_never_break_it(bytes: Vec<u8>, block: Vec<u8>, flags: u8) {
        let mut bytes = bytes;
        bytes.splice(0..0, frame(HEADERS, flags, 1, &block));
        let mut rewriter = Rewriter::new();
        rewriter.preface = 0;
        rewriter.take(&bytes);
        rewriter.pass_everything();
        prop_assert!(rewriter.raw.is_empty() && rewriter.block.is_none());
    }
}
