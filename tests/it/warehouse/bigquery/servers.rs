//! The servers behind the tests of BigQuery: an emulator of it, and one of Cloud Storage over the same files.

use crate::googlesql::python;
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::service::{S3Service, S3ServiceBuilder};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// The project that the emulator is started with.
pub const PROJECT: &str = "tests";

/// Both servers, started once for all tests.
pub struct Servers {
    /// The address of the emulator of BigQuery.
    pub bigquery: String,
    /// That of Cloud Storage.
    pub storage: String,
    /// Where buckets are, a folder each.
    pub buckets: PathBuf,
}

pub fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| {
        // Statics are never dropped, so the folder is one of the system's temporary ones; it ends with the tests.
        let buckets = tempfile::tempdir().unwrap().keep();
        let bigquery = emulator(&buckets);
        let storage = format!("http://{}", cloud_storage(buckets.clone()));
        Servers { bigquery, storage, buckets }
    })
}

/// Starts `bqemulator` and waits until it answers. A shell between ends it, and removes its files, when this process
/// does, however that happens: its standard input is closed then.
fn emulator(buckets: &std::path::Path) -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let grpc = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = r#""$0" start --project "$1" --rest-port "$2" --grpc-port "$3" >"$BQEMU_GCS_LOCAL_ROOT.log" 2>&1 &
        emulator=$!
        echo started
        cat >/dev/null
        kill -9 $emulator
        rm -rf "$BQEMU_GCS_LOCAL_ROOT" "$BQEMU_GCS_LOCAL_ROOT.log""#;
    let mut shell = Command::new("sh")
        .args(["-c", script])
        .arg(python().with_file_name("bqemulator"))
        .args([PROJECT, &port.to_string(), &grpc.to_string()])
        .env("BQEMU_GCS_LOCAL_ROOT", buckets)
        // An export of more than a few rows has several objects.
        .env("BQEMU_EXPORT_SHARD_THRESHOLD_BYTES", "1000000")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(shell.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
    // Held as long as this process lives.
    std::mem::forget(shell);
    let begun = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        let log = std::fs::read_to_string(format!("{}.log", buckets.display())).unwrap_or_default();
        assert!(begun.elapsed() < Duration::from_secs(90), "bqemulator does not start: {log}");
        std::thread::sleep(Duration::from_millis(50));
    }
    format!("http://127.0.0.1:{port}")
}

/// Serves buckets as Cloud Storage's XML API does, which is that of S3 but for two headers.
fn cloud_storage(buckets: PathBuf) -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let files = s3s_fs::FileSystem::new(&buckets).unwrap();
            let service = S3ServiceBuilder::new(files).build();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                let _ = socket.set_nodelay(true);
                let (service, buckets) = (service.clone(), buckets.clone());
                tokio::spawn(async move {
                    let answer = service_fn(move |request| answer(service.clone(), buckets.clone(), request));
                    // A client that goes away is of no interest.
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), answer).await;
                });
            }
        });
    });
    told.recv().unwrap()
}

async fn answer(
    service: S3Service,
    buckets: PathBuf,
    mut request: hyper::Request<hyper::body::Incoming>,
) -> Result<hyper::Response<s3s::Body>, s3s::HttpError> {
    request.headers_mut().remove("authorization");
    // Its folders are no objects.
    if request.method() == hyper::Method::HEAD && buckets.join(&percent(request.uri().path())[1..]).is_dir() {
        let mut missing = hyper::Response::new(s3s::Body::empty());
        *missing.status_mut() = hyper::StatusCode::NOT_FOUND;
        return Ok(missing);
    }
    if let Some(generation) = request.headers_mut().remove("x-goog-if-generation-match") {
        assert_eq!(generation, "0", "create if absent");
        let name = percent(request.uri().path());
        if buckets.join(name.trim_start_matches('/')).is_file() {
            let _ = request.into_body().collect().await;
            let mut refused = hyper::Response::new(s3s::Body::empty());
            *refused.status_mut() = hyper::StatusCode::PRECONDITION_FAILED;
            return Ok(refused);
        }
    }
    let (parts, body) = request.into_parts();
    service.call(hyper::Request::from_parts(parts, s3s::Body::from(body))).await
}

/// The text of a path whose bytes are given as `%2F`.
fn percent(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}
