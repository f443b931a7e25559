//! A coordinator that does as it is told: grants a list of units, remembers every call, dies and comes back.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use limbic_proto::unit::Unit;
use limbic_proto::wire::workers_server::{Workers, WorkersServer};
use limbic_proto::wire::{
    Grant, HeartbeatRequest, HeartbeatResponse, LeaseRequest, LeaseResponse, RegisterRequest, RegisterResponse, ReportRequest,
    ReportResponse, Token, report_request::Outcome,
};
use tokio::runtime::Runtime;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// What the coordinator is told to do, and what it saw.
#[derive(Default)]
pub struct State {
    pub session: u64,
    pub store: String,
    /// Units to grant, with the attempts' names.
    pub queue: VecDeque<(Unit, String)>,
    /// Answer `finished` once the queue is empty and so many reports are in.
    pub finished_after: usize,
    /// Answer `finished` whenever the queue is empty, as a coordinator does that ends no sooner.
    pub idle: bool,
    /// Refuse to register anybody, with this message.
    pub refuse: Option<String>,
    /// Attempts to cancel at the next heartbeat.
    pub cancel: Vec<String>,
    /// Lose the answer to every report.
    pub swallow_reports: bool,
    pub registered: Vec<RegisterRequest>,
    pub leases: Vec<LeaseRequest>,
    pub heartbeats: Vec<HeartbeatRequest>,
    pub reports: Vec<ReportRequest>,
    /// When each report came.
    pub reported: Vec<Instant>,
}

/// A fake coordinator on a runtime of its own, so that it can be killed with all its connections.
pub struct FakeCoordinator {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    runtime: Option<Runtime>,
}

#[derive(Clone)]
struct Service(Arc<Mutex<State>>);

impl FakeCoordinator {
    pub fn start(state: State) -> FakeCoordinator {
        FakeCoordinator::listen("127.0.0.1:0".parse().unwrap(), state)
    }

    fn listen(address: SocketAddr, state: State) -> FakeCoordinator {
        let state = Arc::new(Mutex::new(state));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = bind(address);
        let address = listener.local_addr().unwrap();
        let service = WorkersServer::new(Service(state.clone()));
        runtime.spawn(async move {
            let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener).unwrap());
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        FakeCoordinator { address, state, runtime: Some(runtime) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Dies at once, with all connections.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Another coordinator on the same address, which knows no worker.
    pub fn restart(mut self, state: State) -> FakeCoordinator {
        self.kill();
        FakeCoordinator::listen(self.address, state)
    }

    /// Waits until what it saw satisfies a condition.
    pub async fn until(&self, what: &str, condition: impl Fn(&State) -> bool) {
        for _ in 0..1000 {
            if condition(&self.state()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("waited in vain for {what}");
    }

    /// The outcomes that were reported, by attempt.
    pub fn outcomes(&self) -> Vec<(String, Outcome)> {
        self.state().reports.iter().map(|r| (r.held.clone().unwrap().attempt, r.outcome.clone().unwrap())).collect()
    }
}

impl Drop for FakeCoordinator {
    fn drop(&mut self) {
        self.kill();
    }
}

fn bind(address: SocketAddr) -> std::net::TcpListener {
    let mut tries = 0;
    loop {
        match std::net::TcpListener::bind(address) {
            Ok(listener) => {
                listener.set_nonblocking(true).unwrap();
                return listener;
            }
            Err(_) if tries < 200 => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => panic!("{address}: {error}"),
        }
        tries += 1;
    }
}

#[tonic::async_trait]
impl Workers for Service {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        let mut state = self.0.lock().unwrap();
        if let Some(message) = &state.refuse {
            return Err(Status::failed_precondition(message.clone()));
        }
        state.registered.push(request.into_inner());
        Ok(Response::new(RegisterResponse { session: state.session, store: state.store.clone(), heartbeat_ms: 30, finished: state.idle }))
    }

    async fn lease(&self, request: Request<LeaseRequest>) -> Result<Response<LeaseResponse>, Status> {
        let request = request.into_inner();
        let wait = Duration::from_millis(u64::from(request.wait_ms));
        {
            let mut state = self.0.lock().unwrap();
            if request.session != state.session || !state.registered.iter().any(|r| r.worker == request.worker) {
                return Err(Status::failed_precondition("register first"));
            }
            state.leases.push(request);
            if let Some((unit, attempt)) = state.queue.pop_front() {
                let token = Token { epoch: state.session, counter: state.leases.len() as u64 };
                return Ok(Response::new(LeaseResponse {
                    grant: Some(Grant::of(&unit, "sweep", &attempt, token, 0, &[])),
                    ..LeaseResponse::default()
                }));
            }
            if state.finished_after > 0 && state.reports.len() >= state.finished_after {
                return Ok(Response::new(LeaseResponse { grant: None, finished: true, dismissed: true }));
            }
            if state.idle {
                return Ok(Response::new(LeaseResponse { grant: None, finished: true, dismissed: false }));
            }
        }
        tokio::time::sleep(wait).await;
        Ok(Response::new(LeaseResponse::default()))
    }

    async fn heartbeat(&self, request: Request<HeartbeatRequest>) -> Result<Response<HeartbeatResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.0.lock().unwrap();
        let unknown = request.session != state.session || !state.registered.iter().any(|r| r.worker == request.worker);
        state.heartbeats.push(request);
        Ok(Response::new(HeartbeatResponse { cancel: std::mem::take(&mut state.cancel), unknown }))
    }

    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        let mut state = self.0.lock().unwrap();
        if state.swallow_reports {
            return Err(Status::unavailable("no answer"));
        }
        state.reports.push(request.into_inner());
        state.reported.push(Instant::now());
        Ok(Response::new(ReportResponse {}))
    }
}
