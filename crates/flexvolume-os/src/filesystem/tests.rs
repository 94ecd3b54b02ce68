use proptest::prelude::*;

use super::*;

#[test]
fn names_are_read_and_written() {
    for fs_type in [FsType::Ext4, FsType::Xfs, FsType::Btrfs] {
        assert_eq!(FsType::parse(fs_type.as_str()), Some(fs_type));
    }
    assert_eq!(FsType::parse("vfat"), None);
}

#[test]
fn the_answers_of_blkid_are_told_apart() {
    let file_system =
        |uuid: Option<&str>| Probe::FileSystem { fs_type: "ext4".into(), uuid: uuid.map(Into::into) };
    let cases = [
        ("DEVNAME=/dev/x\nUUID=ab-cd\nTYPE=ext4\n", file_system(Some("ab-cd"))),
        ("TYPE=ext4\n", file_system(None)),
        ("TYPE=ext4\nUUID=\nPTTYPE=dos\n", file_system(None)),
        ("DEVNAME=/dev/x\nPTTYPE=gpt\n", Probe::Partitions("gpt".into())),
        ("DEVNAME=/dev/x\n", Probe::Ambiguous),
        ("", Probe::Ambiguous),
    ];
    for (text, expected) in cases {
        assert_eq!(parse_probe(text.as_bytes()), expected, "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_answer_of_blkid_makes_it_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_probe(&text);
    }
}

#[cfg(feature = "fake")]
mod with_a_fake_runner {
    use super::*;
    use crate::fake::{FakeRunner, output};

    const DEADLINE: Duration = Duration::from_secs(5);
    const UUID: &str = "5f2c6b1e-0000-4000-8000-000000000001";

    #[test]
    fn each_tool_gets_its_own_words() {
        let make = |fs_type, uuid, discard| MakeFilesystem {
            fs_type,
            device: Path::new("/dev/x"),
            uuid,
            discard,
            deadline: DEADLINE,
        };
        let requests = [
            (make(FsType::Ext4, None, Discard::Allow), "mkfs.ext4 -F -q -m0 /dev/x"),
            (
                make(FsType::Ext4, Some(UUID), Discard::Forbid),
                "mkfs.ext4 -F -q -m0 -E nodiscard -U UUID /dev/x",
            ),
            (make(FsType::Xfs, None, Discard::Allow), "mkfs.xfs -f -q /dev/x"),
            (make(FsType::Xfs, Some(UUID), Discard::Forbid), "mkfs.xfs -f -q -K -m uuid=UUID /dev/x"),
            (make(FsType::Btrfs, Some(UUID), Discard::Forbid), "mkfs.btrfs -f -q -K -U UUID /dev/x"),
        ];
        for (request, expected) in requests {
            let runner = FakeRunner::new();
            runner.always(&format!("mkfs.{}", request.fs_type.as_str()), output(0, ""));
            super::super::make(&runner, &request).unwrap();
            assert_eq!(runner.calls()[0].join(" "), expected.replace("UUID", UUID));
        }
    }

    #[test]
    fn a_file_system_grows_by_device_or_mount_point() {
        let cases = [
            (FsType::Ext4, "resize2fs /dev/x"),
            (FsType::Xfs, "xfs_growfs -d /mnt/x"),
            (FsType::Btrfs, "btrfs filesystem resize max /mnt/x"),
        ];
        for (fs_type, expected) in cases {
            let runner = FakeRunner::new();
            for tool in ["resize2fs", "xfs_growfs", "btrfs"] {
                runner.always(tool, output(0, ""));
            }
            let (device, mount_point) = (Path::new("/dev/x"), Path::new("/mnt/x"));
            grow(&runner, &GrowTarget { fs_type, device, mount_point, deadline: DEADLINE }).unwrap();
            assert_eq!(runner.calls()[0].join(" "), expected);
        }
    }

    #[test]
    fn the_exit_code_of_a_check_decides_whether_to_mount() {
        let check = |code| {
            let runner = FakeRunner::new();
            runner.always("e2fsck", output(code, "UNEXPECTED INCONSISTENCY\n\nrun by hand\n"));
            super::super::check(&runner, FsType::Ext4, Path::new("/dev/x"), DEADLINE)
        };
        for fine in [0, 1, 2, 3] {
            check(fine).unwrap();
        }
        for damaged in [4, 5, 12] {
            let error = check(damaged).unwrap_err();
            assert!(matches!(&error, FilesystemError::Damaged { .. }), "{error}");
            assert!(error.to_string().ends_with("UNEXPECTED INCONSISTENCY; run by hand"), "{error}");
        }
        for unknown in [8, 16, 32, 128] {
            assert!(matches!(check(unknown), Err(FilesystemError::Tool { .. })));
        }
    }

    #[test]
    fn xfs_and_btrfs_need_no_check() {
        for fs_type in [FsType::Xfs, FsType::Btrfs] {
            check(&FakeRunner::new(), fs_type, Path::new("/dev/x"), DEADLINE).unwrap();
        }
    }

    #[test]
    fn a_missing_tool_names_its_package() {
        let runner = FakeRunner::new();
        runner.cannot_start("blkid", StartFailure::Missing);
        let error = probe(&runner, Path::new("/dev/x"), DEADLINE).unwrap_err();
        assert_eq!(error.to_string(), "blkid is not installed: install the package util-linux");
    }

    #[test]
    fn a_tool_that_hangs_or_dies_says_so() {
        let runner = FakeRunner::new();
        let with = |ended| Output { ended, duration: Duration::from_secs(61), ..output(0, "half\n") };
        for (ended, words) in [(Ended::TimedOut, "no answer within 61s"), (Ended::Signaled(9), "signal 9")] {
            runner.always("blkid", with(ended));
            let error = probe(&runner, Path::new("/dev/x"), DEADLINE).unwrap_err();
            assert_eq!(error.to_string(), format!("blkid /dev/x: {words}: half"));
        }
    }

    #[test]
    fn nothing_known_is_only_said_of_what_can_be_read() {
        let runner = FakeRunner::new();
        runner.always("blkid", output(2, ""));
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        let look = || probe(&runner, &image, DEADLINE);
        assert!(matches!(look(), Err(FilesystemError::Unreadable { .. })));
        std::fs::write(&image, "").unwrap();
        assert!(matches!(look(), Err(FilesystemError::Unreadable { .. })));
        std::fs::write(&image, [0; 4096]).unwrap();
        assert_eq!(look().unwrap(), Probe::NothingKnown);
        runner.always("blkid", output(8, ""));
        assert_eq!(look().unwrap(), Probe::Ambiguous);
    }
}
