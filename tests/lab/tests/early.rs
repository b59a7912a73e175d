//! The time before the daemon is up, as after power-on: nothing is pinned, there is no table of ours, and the unit for it
//! runs `secd --early`.

use lab::{DMZ, HOME, Lab, Own, VISITOR, WAN, Waiter, connect};
use std::fs;
use std::time::Duration;

const LIMIT: Duration = Duration::from_millis(800);

#[test]
fn the_outside_is_closed_until_secd_is_up_and_the_inside_is_not() {
    if let Some(why) = lab::cannot_run() {
        eprintln!("SKIP: lab::early: {why}");
        return;
    }
    let mut lab = Lab::start(Waiter::default(), false, Own::default()).unwrap();
    let get = |lab: &Lab, place, from: Option<&str>, host: &str| {
        connect(lab.network.host(place).unwrap(), from, &format!("{host}:80"), LIMIT).unwrap()
    };
    let from_outside = |lab: &Lab| get(lab, WAN, Some(VISITOR), DMZ.host4);
    let power_on = |lab: &mut Lab| {
        if lab.appliance.process().is_ok() {
            lab.appliance.stop().unwrap();
        }
        let reply = lab.appliance.detach(&lab.network.router).unwrap();
        assert_eq!(reply.code, 0, "{}", reply.text);
        // Without anything of ours the router lets everything through.
        assert_eq!(from_outside(lab), "HTTP 200");
        let reply = lab.appliance.early(&lab.network.router).unwrap();
        assert_eq!(reply.code, 0, "{}", reply.text);
        reply.text
    };
    assert_eq!(from_outside(&lab), "HTTP 200");
    let reply = lab.appliance.early(&lab.network.router).unwrap();
    assert!(reply.text.contains("is there already"), "{}", reply.text);
    assert_eq!(from_outside(&lab), "HTTP 200");

    assert!(power_on(&mut lab).contains("made the nftables table"));
    assert_eq!(from_outside(&lab), "no answer");
    assert_eq!(get(&lab, HOME, None, WAN.host4), "HTTP 200");
    lab.appliance.run(&lab.network.router, &lab.waiter).unwrap();
    assert_eq!(from_outside(&lab), "HTTP 200");

    // As the config says, and as the mode does.
    let text = fs::read_to_string(&lab.appliance.config).unwrap();
    let closed = text.replacen("[zones.home]\n", "[zones.home]\nfail = \"closed\"\n", 1);
    let closed = closed.replacen("wan = true\n", "wan = true\nfail = \"open\"\n", 1);
    fs::write(&lab.appliance.config, closed).unwrap();
    assert_eq!(lab.appliance.ask(&["reload"]).unwrap().code, 0);
    power_on(&mut lab);
    assert_eq!(from_outside(&lab), "HTTP 200");
    assert_eq!(get(&lab, HOME, None, WAN.host4), "no answer");
    lab.appliance.run(&lab.network.router, &lab.waiter).unwrap();
    assert_eq!(lab.appliance.ask(&["mode", "observe"]).unwrap().code, 0);
    power_on(&mut lab);
    assert_eq!(get(&lab, HOME, None, WAN.host4), "HTTP 200");

    // A state folder in which no policy ever was.
    fs::remove_file(lab.appliance.state.join("early.nft.json")).unwrap();
    assert!(power_on(&mut lab).contains("nothing is closed"));
    assert_eq!(from_outside(&lab), "HTTP 200");
}
