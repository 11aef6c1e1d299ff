//! Tests of the demo page: who gets it, and who gets a token.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use nucleus_control::http::{HttpServer, Listener, Serving};

use super::*;
use crate::token::{CertificatePins, DevelopmentKey};

/// A page whose tokens nobody checks.
fn demo() -> Demo {
    let key =
        aws_lc_rs::signature::Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new());
    let key = DevelopmentKey { signing_key: key.as_ref().unwrap().as_ref(), server_id: "server" };
    let minter = Minter::new(&key, CertificatePins::new(vec!["a pin".to_owned()]));
    Demo::new(minter, "[::]:5055".parse().unwrap(), Arc::new(|| 1_800_000_000))
}

struct DemoServer {
    _server: HttpServer,
    addr: SocketAddr,
}

impl DemoServer {
    fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        let router = demo().router(addr);
        let serving = async move {
            let listeners = vec![Listener { socket, tls: None, router }];
            Ok::<_, std::io::Error>(Serving { listeners, ..Serving::default() })
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { _server: runtime.block_on(HttpServer::start(serving)).unwrap(), addr }
    }

    fn exchange(&self, request: &str) -> String {
        let mut client = TcpStream::connect(self.addr).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }

    fn get(&self, path: &str, host: &str) -> String {
        self.exchange(&format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"))
    }

    /// Asks for a token with the head lines `head`, in which `HOST` stands for the page's own.
    fn token(&self, head: &str, body: &str) -> String {
        let head = head.replace("HOST", &format!("127.0.0.1:{}", self.addr.port()));
        let length = body.len();
        self.exchange(&format!(
            "POST /demo/token HTTP/1.1\r\nconnection: close\r\n{head}content-length: {length}\r\n\r\n{body}"
        ))
    }
}

const GOOD: &str = "host: HOST\r\norigin: http://HOST\r\ncontent-type: application/json\r\n";
const VISITOR: &str = r#"{"user": "visitor-1", "name": "Visitor 1"}"#;

#[test]
fn the_page_is_for_names_of_this_machine() {
    let served = DemoServer::start();
    let port = served.addr.port();
    for host in ["localhost", "LOCALHOST", "127.0.0.1", "[::1]"] {
        for (path, _, _) in FILES {
            let answer = served.get(path, &format!("{host}:{port}"));
            assert!(answer.starts_with("HTTP/1.1 200"), "{host}{path}: {answer}");
            assert!(answer.contains("connect-src 'self' https://127.0.0.1:5055;"), "{answer}");
        }
    }
    for host in ["evil.com", "localhost.evil.com", "127.0.0.2", "[::2]", "localhost:+", ""] {
        for path in ["/", "/demo", "/demo/demo.js", "/demo/token"] {
            let answer = served.get(path, &format!("{host}:{port}"));
            assert!(answer.starts_with("HTTP/1.1 421"), "{host}{path}: {answer}");
        }
    }
    assert!(served.get("/demo", "localhost:1").starts_with("HTTP/1.1 421"), "another port");
    assert!(served.get("/demo", "localhost").starts_with("HTTP/1.1 421"), "no port");
    let front = served.get("/", &format!("localhost:{port}"));
    assert!(front.starts_with("HTTP/1.1 307") && front.contains("location: /demo\r\n"), "{front}");
}

#[test]
fn a_token_is_for_the_page_alone() {
    let served = DemoServer::start();
    let answer = served.token(GOOD, VISITOR);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(r#""server":"127.0.0.1:5055""#), "{answer}");
    let token = answer.split("\"token\":\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(token.split('.').count(), 3);
    for (bad, status) in [
        (GOOD.replace("http://HOST", "http://evil.com"), 403),
        (GOOD.replace("http://HOST", "https://HOST"), 403),
        (GOOD.replace("http://HOST", "null"), 403),
        (GOOD.replace("origin: http://HOST\r\n", ""), 403),
        (GOOD.replace("application/json", "text/plain"), 403),
        (GOOD.replace("host: HOST", "host: evil.com"), 421),
    ] {
        let answer = served.token(&bad, VISITOR);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{bad}: {answer}");
        assert!(!answer.contains("token\":"), "{answer}");
    }
}

#[test]
fn a_bad_visitor_gets_no_token() {
    let served = DemoServer::start();
    let long = format!(r#"{{"user": "{}", "name": "n"}}"#, "u".repeat(200));
    for body in ["", "{}", "[]", r#"{"user": "", "name": ""}"#, r#"{"user": 1, "name": 2}"#, &long]
    {
        let answer = served.token(GOOD, body);
        assert!(answer.starts_with("HTTP/1.1 400"), "{body}: {answer}");
    }
    let huge = format!(r#"{{"user": "{}", "name": "n"}}"#, "u".repeat(MAX_REQUEST));
    assert!(served.token(GOOD, &huge).starts_with("HTTP/1.1 413"));
}

#[test]
fn a_browser_is_told_where_it_reaches_the_server() {
    for (bound, reached) in [
        ("[::]:5055", "127.0.0.1:5055"),
        ("0.0.0.0:7", "127.0.0.1:7"),
        ("[::1]:7", "localhost:7"),
        ("127.0.0.2:7", "127.0.0.2:7"),
        ("192.0.2.1:7", "192.0.2.1:7"),
    ] {
        assert_eq!(reachable(bound.parse().unwrap()), reached);
    }
}
