//! The programs load, and say what they cost.

use enforce::xdp::Dataplane;
use kernel_tests::{Folder, can_run};

#[test]
fn the_programs_load_and_their_maps_are_adopted() {
    if !can_run("the_programs_load_and_their_maps_are_adopted") {
        return;
    }
    let folder = Folder::new("load");
    let (dataplane, adopted) = Dataplane::open(folder.path()).unwrap();
    assert!(!adopted.maps);
    println!("verified instructions: {:?}", dataplane.verified_instructions());
    println!("kernel memory: {} bytes", dataplane.memory().unwrap());
    drop(dataplane);
    let (_dataplane, adopted) = Dataplane::open(folder.path()).unwrap();
    assert!(adopted.maps);
}
