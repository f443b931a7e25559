//! Programs of different releases.

use std::pin::Pin;
use std::process::Command;

use insta::assert_snapshot;
use limbic_proto::wire::control_client::ControlClient;
use limbic_proto::wire::control_server::{Control, ControlServer};
use limbic_proto::wire::workers_client::WorkersClient;
use limbic_proto::wire::workers_server::{Workers, WorkersServer};
use limbic_proto::wire::{
    ChangeRequest, ChangeResponse, HeartbeatRequest, HeartbeatResponse, LeaseRequest, LeaseResponse, ListRequest, ListResponse, PROTOCOL,
    RegisterRequest, RegisterResponse, ReportRequest, ReportResponse, ShowRequest, ShowResponse, StatusRequest, StatusResponse,
    SubmitRequest, SubmitResponse,
};
use limbic_tests::Sandbox;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, async_trait};

use crate::{LIMBIC, WORKER, command, limbic, plain, port, said, sandbox};

fn refusal(sandbox: &Sandbox, status: &Status) -> String {
    plain(sandbox, &format!("{:?}: {}", status.code(), status.message()))
}

#[tokio::test]
async fn a_caller_of_another_release_is_refused() {
    let sandbox = sandbox();
    let listen = format!("127.0.0.1:{}", port());
    let url = format!("http://{listen}");
    let _coordinator = sandbox.spawn(&["coordinator", "--store", "store", "--listen", &listen]);
    sandbox.until("the coordinator listens", || std::net::TcpStream::connect(&listen).is_ok());
    let channel = Endpoint::from_shared(url.clone()).unwrap().connect().await.unwrap();
    let submit = SubmitRequest { spec: b"{}".to_vec(), protocol: PROTOCOL + 1, ..Default::default() };
    let refused = ControlClient::new(channel.clone()).submit(submit).await.unwrap_err();
    assert_snapshot!(refusal(&sandbox, &refused), @r#"
    FailedPrecondition: this coordinator is limbic 0.1.0 with protocol 3, you speak protocol 4: run the same build on both sides
    "#);
    let register = RegisterRequest { protocol: PROTOCOL + 1, worker: "worker".to_owned(), ..Default::default() };
    let refused = WorkersClient::new(channel).register(register).await.unwrap_err();
    assert_snapshot!(refusal(&sandbox, &refused), @r#"
    FailedPrecondition: this coordinator is limbic 0.1.0 with protocol 3, you speak protocol 4: run the same build on both sides
    "#);
    // A spec that the coordinator refuses is refused by the command, too.
    sandbox.small(&[("group: group", "group: groop")]);
    assert_snapshot!(limbic(&sandbox, &["submit", "small.yaml", "--coordinator", &url]), @r#"
    exit 2
    error: [repository]/configs/quickstart/corpus.jsonl: has no column `groop` (`dataset.group`); it has `group`, `id`, `label`, `text`; did you mean `group`?
    "#);
    assert!(sandbox.objects("").is_empty());
}

/// A coordinator of a release to come.
struct Later;

const SPEAKS: &str = "this coordinator is limbic 9.0.0 with protocol 9, you speak protocol 1: run the same build on both sides";

#[async_trait]
impl Control for Later {
    async fn submit(&self, _: Request<SubmitRequest>) -> Result<Response<SubmitResponse>, Status> {
        Err(Status::failed_precondition(SPEAKS))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(StatusResponse { status: b"{\"later\": true}".to_vec() }))
    }

    type WatchStream = Pin<Box<tonic::codec::Streaming<StatusResponse>>>;

    async fn watch(&self, _: Request<StatusRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("watching is called looking here"))
    }

    async fn change(&self, _: Request<ChangeRequest>) -> Result<Response<ChangeResponse>, Status> {
        Err(Status::failed_precondition(SPEAKS))
    }

    async fn show(&self, _: Request<ShowRequest>) -> Result<Response<ShowResponse>, Status> {
        Err(Status::failed_precondition(SPEAKS))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        Ok(Response::new(ListResponse { statuses: vec![b"{\"later\": true}".to_vec()] }))
    }
}

#[async_trait]
impl Workers for Later {
    async fn register(&self, _: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        Err(Status::failed_precondition(SPEAKS))
    }

    async fn lease(&self, _: Request<LeaseRequest>) -> Result<Response<LeaseResponse>, Status> {
        Err(Status::failed_precondition(SPEAKS))
    }

    async fn heartbeat(&self, _: Request<HeartbeatRequest>) -> Result<Response<HeartbeatResponse>, Status> {
        Err(Status::failed_precondition(SPEAKS))
    }

    async fn report(&self, _: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        Err(Status::failed_precondition(SPEAKS))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_of_another_release_is_named() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    let address = format!("127.0.0.1:{}", port());
    let url = format!("http://{address}");
    let server = Server::builder().add_service(ControlServer::new(Later)).add_service(WorkersServer::new(Later));
    tokio::spawn(server.serve(address.parse().unwrap()));
    sandbox.until("the server listens", || std::net::TcpStream::connect(&address).is_ok());
    let ask = |command: Command| tokio::task::block_in_place(|| said(&sandbox, command));
    let limbic = |args: &[&str]| ask(command(&sandbox, LIMBIC, &[args, &["--coordinator", &url]].concat()));
    assert_snapshot!(limbic(&["submit", "small.yaml"]), @r#"
    exit 2
    error: this coordinator is limbic 9.0.0 with protocol 9, you speak protocol 1: run the same build on both sides
    "#);
    assert_snapshot!(limbic(&["list"]), @r#"
    exit 2
    error: the coordinator's answer can't be read (missing field `sweep` at line 1 column 15): run the same build on both sides
    "#);
    let mut worker = command(&sandbox, WORKER, &["--coordinator", &url]);
    worker.env("LIMBIC_LOG", "error");
    assert_snapshot!(ask(worker), @r#"
    exit 2
    error: the coordinator at http://127.0.0.1:[port] refused this worker: this coordinator is limbic 9.0.0 with protocol 9, you speak protocol 1: run the same build on both sides (this worker is limbic 0.1.0, protocol 3)
    "#);
}
