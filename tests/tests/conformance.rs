//! Stores: exactly one of many writers wins, whatever the store; one that breaks that is refused; a sweep on S3 gives the
//! same results as one in a folder; nothing but garbage is ever removed.

#[path = "conformance/clouds.rs"]
mod clouds;
#[path = "conformance/doctor.rs"]
mod doctor;
#[path = "conformance/garbage.rs"]
mod garbage;
#[path = "conformance/imitation.rs"]
mod imitation;
#[path = "conformance/s3.rs"]
mod s3;
#[path = "conformance/winners.rs"]
mod winners;

use limbic_tests::Sandbox;

fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_limbic-under-test"), env!("CARGO_BIN_EXE_limbic-worker-under-test"))
}
