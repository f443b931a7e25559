//! Addresses to listen on and to call.

use std::net::TcpListener;

use insta::assert_snapshot;

use crate::{LIMBIC, WORKER, command, limbic, port, said, sandbox};

#[test]
fn a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    assert_snapshot!(limbic(&sandbox(), &["coordinator", "--store", "store", "--listen", &listen]), @r#"
    exit 2
    error: --listen 127.0.0.1:[port]: the port is taken: stop what listens there, or choose another port (0 = any free one)
    "#);
}

#[test]
fn an_address_beyond_this_computer() {
    assert_snapshot!(limbic(&sandbox(), &["coordinator", "--store", "store", "--listen", "0.0.0.0:7447"]), @r#"
    exit 2
    error: --listen 0.0.0.0:7447: anyone who reaches this address could submit work, for connections are not authenticated; listen on 127.0.0.1, or say --insecure on a network you trust
    "#);
    assert_snapshot!(limbic(&sandbox(), &["coordinator", "--store", "store", "--listen", "everywhere"]), @r#"
    exit 2
    error: invalid value 'everywhere' for '--listen <ADDRESS>': invalid socket address syntax

    For more information, try '--help'.
    "#);
}

#[test]
fn a_coordinator_that_is_not_there() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    let nowhere = format!("http://127.0.0.1:{}", port());
    assert_snapshot!(limbic(&sandbox, &["submit", "small.yaml", "--coordinator", &nowhere]), @r#"
    exit 75
    error: --coordinator http://127.0.0.1:[port]: nothing answers there: is `limbic coordinator` running?
    "#);
    assert_snapshot!(limbic(&sandbox, &["status", "--coordinator", &nowhere]), @r#"
    exit 75
    error: --coordinator http://127.0.0.1:[port]: nothing answers there: is `limbic coordinator` running?
    "#);
    assert_snapshot!(limbic(&sandbox, &["watch", "--coordinator", "not an address"]), @r#"
    exit 2
    error: --coordinator not an address: doesn't begin with http://: write http://HOST:PORT
    "#);
    let worker = |args: &[&str]| {
        let mut worker = command(&sandbox, WORKER, args);
        worker.env("LIMBIC_LOG", "error");
        said(&sandbox, worker)
    };
    assert_snapshot!(worker(&["--coordinator", &nowhere, "--patience", "1"]), @r#"
    exit 75
    error: the coordinator at http://127.0.0.1:[port] can't be reached for 1 s (register: tcp connect error); start it, or check --coordinator
    "#);
    assert_snapshot!(worker(&["--coordinator", "not an address"]), @r#"
    exit 2
    error: --coordinator `not an address`: write http://HOST:PORT
    "#);
    assert_snapshot!(worker(&["--coordinator", &nowhere, "--device", "gpu"]), @r#"
    exit 2
    error: --device `gpu`: write cpu, or cuda:N such as cuda:0
    "#);
}

#[test]
fn an_address_of_a_coordinator_that_is_none() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    for address in ["127.0.0.1:7447", "https://127.0.0.1:7447", "localhost:7447", ":7447"] {
        let said = sandbox.limbic(&["list", "--coordinator", address]);
        let expected = format!("--coordinator {address}: doesn't begin with http://: write http://HOST:PORT");
        assert!(said.code == Some(2) && said.stderr.contains(&expected), "{said:?}");
    }
}

#[test]
fn a_variable_that_is_empty_is_as_good_as_none() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    let with = |program: &str, args: &[&str], value: &str| {
        let mut command = command(&sandbox, program, args);
        for name in [
            "LIMBIC_COORDINATOR",
            "LIMBIC_DEVICE",
            "LIMBIC_STORE",
            "LIMBIC_TAKES",
            "LIMBIC_THREADS",
            "LIMBIC_PATIENCE",
            "LIMBIC_LOG_FORMAT",
        ] {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let nowhere = format!("http://127.0.0.1:{}", port());
    let (code, said) = with(WORKER, &["--coordinator", &nowhere, "--patience", "1"], "");
    assert!(code == Some(75) && said.contains("can't be reached for 1 s"), "{said}");
    let (code, said) = with(LIMBIC, &["plan", "small.yaml"], "");
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = with(LIMBIC, &["run", "small.yaml"], "none");
    assert!(code == Some(2) && said.contains("invalid value 'none'"), "{said}");
}

#[test]
fn a_device_that_a_variable_names() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    let mut run = command(&sandbox, LIMBIC, &["run", "small.yaml", "--store", "store"]);
    run.env("LIMBIC_DEVICE", "gpu");
    assert_snapshot!(said(&sandbox, run), @r#"
    exit 2
    error: --device gpu: write cpu, or cuda:N such as cuda:0
    "#);
}

#[test]
fn speeds_that_are_none() {
    let sandbox = sandbox();
    sandbox.small(&[]);
    for speed in ["nan", "0", "-5", "inf", "1e-300"] {
        for flag in ["--gflops", "--gpu-tflops"] {
            let said = sandbox.limbic(&["plan", "small.yaml", &format!("{flag}={speed}")]);
            assert!(said.code == Some(2) && said.stderr.contains("must be a number from 0.001 to 1e12"), "{said:?}");
        }
    }
}
