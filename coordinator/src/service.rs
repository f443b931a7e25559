//! What workers and people reach the coordinator through: thin translations between the wire and its [`Handle`](crate::coordinator::Handle).

mod control;
mod workers;

pub use control::ControlService;
pub use workers::WorkersService;

use tonic::Status;

use crate::coordinator::Gone;

impl From<Gone> for Status {
    fn from(_: Gone) -> Status {
        Status::unavailable("the coordinator is shutting down")
    }
}

/// Refuses a peer that speaks another protocol.
fn check_protocol(theirs: u32) -> Result<(), Status> {
    let ours = limbic_proto::wire::PROTOCOL;
    if theirs == ours {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "this coordinator is {} with protocol {ours}, you speak protocol {theirs}: run the same build on both sides",
        crate::SOFTWARE
    )))
}
