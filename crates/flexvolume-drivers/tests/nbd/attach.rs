//! The controller's calls, which need no device.

use std::net::TcpListener;

use serde_json::Value;

use crate::server::{Mood, Server};
use crate::support::{Program, World, options};
use crate::volume::Volume;

#[test]
fn a_volume_is_attached_to_one_node_at_a_time() {
    let volume = Volume::new(4);
    let is_attached =
        |node: &str| volume.call(&["isattached", &volume.options(), node]).success().json["attached"].clone();
    assert_eq!(is_attached("one"), Value::Bool(false));
    volume.attach("one").success();
    volume.attach("one").success();
    assert_eq!((is_attached("one"), is_attached("two")), (Value::Bool(true), Value::Bool(false)));
    volume.attach("two").failure(&["is attached to node one", "two writers", "export \"disk\""]);
    volume.detach("two").success();
    volume.detach("one").success();
    volume.detach("one").success();
    volume.attach("two").success();
    volume.detach("two").success();
}

#[test]
fn the_server_is_asked_what_only_it_knows() {
    let mut volume = Volume::new(4);
    volume.set("export", "no\n\"such\"");
    volume.attach("one").failure(&["no export of this name", "flexvol doctor"]);
    volume.set("export", "disk");
    volume.server.set_mood(Mood::Refusing(5));
    volume.attach("one").failure(&["TLS", "proxy", "not today"]);
    // Another client may have it, or this machine may not be let in: the node will see.
    volume.server.set_mood(Mood::Refusing(2));
    volume.attach("one").success();
    volume.detach("one").success();
    volume.server.set_mood(Mood::Silent);
    volume.attach("one").success();
    volume.detach("one").success();
    volume.server.die();
    volume.attach("one").success();
    // Asked once is enough: it stays attached whatever the server says.
    volume.server.come_back();
    volume.server.set_mood(Mood::Refusing(6));
    volume.attach("one").success();
}

#[test]
fn calls_that_come_often_send_no_packet() {
    let volume = Volume::new(4);
    volume.attach("one").success();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    listener.set_nonblocking(true).unwrap();
    let given = options("", "rw", &[("server", "127.0.0.1"), ("port", &port)]);
    volume.call(&["init"]).success();
    volume.call(&["isattached", &given, "one"]).success();
    volume.call(&["detach", "other", "one"]).success();
    volume.call(&["unmountdevice", &volume.target()]).success();
    assert!(listener.accept().is_err(), "a packet was sent");
}

#[test]
fn what_is_no_volume_is_refused_before_anything_is_done() {
    let world = World::new();
    for (user, texts) in [
        (&[][..], &["\"server\" is required"][..]),
        (&[("server", "s"), ("exprot", "x")], &["did you mean \"export\"?"]),
        (&[("server", "a,b")], &["option \"server\""]),
        (&[("server", "s"), ("port", "65536")], &["from 1 to 65535"]),
        (&[("server", "s"), ("socket", "/s")], &["option \"socket\""]),
        (&[("server", "s"), ("mountOptions", "suid")], &["nosuid and nodev are always on"]),
        (&[("server", "s"), ("export", "a\0b")], &["NUL"]),
    ] {
        for call in ["attach", "waitforattach"] {
            let given = options("", "rw", user);
            let arguments = if call == "attach" { [call, &given, "n"] } else { [call, "", &given] };
            world.call(Program::Nbd, &arguments).failure(texts);
        }
    }
    assert_eq!(world.files("nbd"), [""; 0]);
}

#[test]
fn a_server_is_described() {
    let volume = Volume::new(4);
    let port = volume.server.options("")[2].1.clone();
    let diagnose = |address: &str| {
        let given = options("", "rw", &[("address", address)]);
        volume.call(&["diagnose", &given]).success().json.to_string()
    };
    let text = diagnose(&format!("127.0.0.1:{port}"));
    assert!(text.contains("fixed newstyle") && text.contains("exports \\\"disk\\\""), "{text}");
    volume.server.set_mood(Mood::Refusing(2));
    let text = diagnose(&format!("127.0.0.1:{port}"));
    assert!(text.contains("does not list its exports"), "{text}");
    let text = diagnose("127.0.0.1:1");
    assert!(text.contains("refuses connections"), "{text}");
    let text = diagnose("unix:/no/such/socket");
    assert!(text.contains("no server listens"), "{text}");
    volume.call(&["diagnose", &options("", "rw", &[("address", "a b")])]).failure(&["option \"address\""]);
}

#[test]
fn a_unix_socket_is_a_server_too() {
    let world = World::new();
    let server = Server::unix(&world.path("nbd.sock"));
    let mut volume = Volume::with(server, world, 4);
    volume.attach("one").success();
    volume.detach("one").success();
    volume.set("export", "other");
    volume.attach("one").failure(&["no export of this name", "nbd.sock"]);
}
