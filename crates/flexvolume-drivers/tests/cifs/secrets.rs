//! Who asks, and what is told of it.

use std::fs;

use serde_json::json;

use crate::share::{SERVER, Share, server, server_is_missing};

#[test]
fn a_password_may_have_any_character() {
    if server_is_missing("secrets::a_password_may_have_any_character") {
        return;
    }
    for password in ["a,b,c", "'\"`$(x)&|;<>*?!%#", "\\\\ \\,", " pä€ 密 ", "username=x,uid=0", "=", "//x"]
    {
        server(&["password", password]);
        let mut share = Share::new();
        share.password = password.into();
        share.mount().success();
        fs::write(share.file(), password).unwrap();
        share.unmount().success();
        share.assert_gone();
    }
}

#[test]
fn what_is_wrong_with_a_user_is_told_in_a_sentence() {
    if server_is_missing("secrets::what_is_wrong_with_a_user_is_told_in_a_sentence") {
        return;
    }
    let mut share = Share::new();
    share.password = b"hunter2-marker".into();
    share.mount().failure(&["does not accept the user of the Secret", "Secret"]);
    share.password = b"hunter2-marker\n".into();
    share.mount().failure(&["line break", "echo -n"]);
    share.password = vec![b'x'; 256];
    share.mount().failure(&["\"password\" has 256 bytes", "at most 255"]);
    share.user = Some("nobody-here");
    share.password = b"hunter2-marker".into();
    share.mount().failure(&["does not accept the user of the Secret"]);
    share.user = None;
    share.mount().failure(&["\"username\" of the Secret is missing", "\"guest\""]);
    share.assert_gone();
    let share = Share::of(json!({"server": SERVER, "share": "nope"}));
    share.mount().failure(&["no share \"nope\""]);
    share.assert_gone();
}

#[test]
fn guests_are_let_in_where_they_are_welcome() {
    if server_is_missing("secrets::guests_are_let_in_where_they_are_welcome") {
        return;
    }
    for (file, options) in [
        ("one", json!({"server": SERVER, "share": "public", "guest": "true"})),
        ("two", json!({"server": SERVER, "share": "public", "mountOptions": "guest,vers=3.0"})),
    ] {
        let share = Share::guest(options);
        share.mount().success();
        fs::write(share.world.target().join(file), "x").unwrap();
        share.unmount().success();
        share.assert_gone();
    }
    let share = Share::guest(json!({"server": SERVER, "share": "data", "guest": "true"}));
    share.mount().failure(&["cannot mount //10.99.0.2/data", "a guest"]);
    share.assert_gone();
}
