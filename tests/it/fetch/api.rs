//! The server: one for all APIs, at one address. Dome lies under `/v1`.

use super::faults::{Fault, Faults, RowFault, bytes};
use super::known::{Known, Trade};
use super::page::{Query, Reply};
use super::world::{Settings, World};
use super::{dome, polymarket};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{StreamExt, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, HOST};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use reqwest::Client;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::TcpListener;

pub const KEY: &str = "dome-key-of-the-tests";

type Answer = Response<BoxBody<Bytes, io::Error>>;

/// A running server. It ends with the test's runtime.
pub struct Api {
    url: String,
    /// For the test's own questions: a new client takes longer than an answer.
    pub client: Client,
    shared: Arc<Shared>,
}

struct Shared {
    /// What this server calls itself: whoever comes by another name was led astray.
    host: String,
    state: Mutex<State>,
}

struct State {
    world: World,
    faults: Faults,
    counts: BTreeMap<Fault, u32>,
    requests: Vec<(String, u16)>,
    strays: Vec<(String, bool)>,
    in_flight: usize,
    max_in_flight: usize,
}

impl Api {
    pub async fn start(known: Known, settings: Settings) -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let state = State {
            world: World::new(known, settings),
            faults: Faults::default(),
            counts: BTreeMap::new(),
            requests: Vec::new(),
            strays: Vec::new(),
            in_flight: 0,
            max_in_flight: 0,
        };
        let url = format!("http://{host}");
        let shared = Arc::new(Shared { host, state: Mutex::new(state) });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                let _ = socket.set_nodelay(true);
                let shared = Arc::clone(&serving);
                tokio::spawn(async move {
                    let answer = service_fn(move |request| {
                        let shared = Arc::clone(&shared);
                        async move { shared.answer(request).await }
                    });
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), answer).await;
                });
            }
        });
        Api { url, client: Client::new(), shared }
    }

    /// Where both Data APIs and Gamma are; Dome's base is `/v1` below it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The secret without which Dome says nothing.
    pub fn key(&self) -> &'static str {
        KEY
    }

    /// All requests in the order in which they came, as path and query, with the status of the answer; 0: none yet.
    pub fn requests(&self) -> Vec<(String, u16)> {
        self.shared.state().requests.clone()
    }

    /// Requests that followed a redirect to another host, and whether they brought the key there.
    pub fn strays(&self) -> Vec<(String, bool)> {
        self.shared.state().strays.clone()
    }

    /// From now on these faults happen, and counting begins anew.
    pub fn set_faults(&self, faults: Faults) {
        let mut state = self.shared.state();
        state.faults = faults;
        state.counts.clear();
    }

    /// How often each fault really happened.
    pub fn counts(&self) -> BTreeMap<Fault, u32> {
        self.shared.state().counts.clone()
    }

    /// The most requests that were being answered at once.
    pub fn max_in_flight(&self) -> usize {
        self.shared.state().max_in_flight
    }

    /// Trades that come late.
    pub fn add(&self, trades: Vec<Trade>) {
        self.shared.state().world.add(trades);
    }

    /// What there is by now.
    pub fn known(&self) -> Known {
        self.shared.state().world.known.clone()
    }

    /// Rows that are odd, by their places in the known trades.
    pub fn bad_rows(&self) -> Vec<(usize, RowFault)> {
        let world = &self.shared.state().world;
        let all = 0..world.known.trades.len();
        all.filter_map(|at| world.row_fault(at).map(|fault| (at, fault))).collect()
    }
}

/// A request that is being answered, however that ends.
struct Flight<'a>(&'a Shared);

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.0.state().in_flight -= 1;
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, io::Error> {
        let line = request.uri().path_and_query().unwrap().as_str().to_string();
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (authorization, host) = (header(AUTHORIZATION), header(HOST));
        if host != self.host {
            self.state().strays.push((line, !authorization.is_empty()));
            return Ok(whole(200, &[], b"[]".to_vec()));
        }
        let (number, latency) = self.enter(&line);
        let _flight = Flight(self);
        tokio::time::sleep(latency).await;
        let fault = self.state().faults.draw(&line);
        if let Some(fault) = fault.filter(|fault| !fault.is_of_page() && *fault != Fault::CutShort) {
            self.note(&line, fault);
            let answer = self.instead(fault).await?;
            self.state().requests[number].1 = answer.status().as_u16();
            return Ok(answer);
        }
        let is_packed = self.state().world.settings.is_gzip && header(ACCEPT_ENCODING).contains("gzip");
        let reply = self.reply(&line, authorization, fault);
        if let Some(fault) = fault.filter(|fault| reply.has_failed || *fault == Fault::CutShort) {
            self.note(&line, fault);
        }
        self.state().requests[number].1 = reply.status;
        let mut body = bytes(&reply.body.to_string());
        if is_packed {
            let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
            packer.write_all(&body)?;
            body = packer.finish()?;
        }
        if fault == Some(Fault::CutShort) {
            return Ok(cut_short(reply.status, body));
        }
        let headers: &[_] = if is_packed { &[("content-encoding", "gzip")] } else { &[] };
        Ok(whole(reply.status, headers, body))
    }

    /// The number of a request, and how long its answer takes.
    fn enter(&self, line: &str) -> (usize, Duration) {
        let mut state = self.state();
        state.requests.push((line.to_string(), 0));
        state.in_flight += 1;
        state.max_in_flight = state.max_in_flight.max(state.in_flight);
        (state.requests.len() - 1, state.world.settings.latency)
    }

    fn note(&self, line: &str, fault: Fault) {
        let mut state = self.state();
        state.faults.note(line);
        *state.counts.entry(fault).or_default() += 1;
    }

    /// What comes in place of an answer.
    async fn instead(&self, fault: Fault) -> Result<Answer, io::Error> {
        let page = b"<!DOCTYPE html><html><body><h1>One moment, please</h1></body></html>".to_vec();
        let html = [("content-type", "text/html; charset=utf-8")];
        Ok(match fault {
            Fault::RateLimitHeader => whole(429, &[("retry-after", "1")], br#"{"error":"Too Many Requests"}"#.to_vec()),
            Fault::RateLimitBody => whole(429, &[], br#"{"error":"Rate Limit Exceeded","retry_after":1}"#.to_vec()),
            Fault::Unavailable => whole(503, &html, page),
            Fault::Html => whole(200, &html, page),
            Fault::NotGzip => whole(200, &[("content-encoding", "gzip")], b"[]".to_vec()),
            Fault::Redirect => {
                let elsewhere = format!("{}/elsewhere", self.host.replace("127.0.0.1", "http://localhost"));
                whole(302, &[("location", &elsewhere)], Vec::new())
            }
            Fault::HangUp => return Err(io::Error::other("hung up")),
            Fault::Silence => std::future::pending().await,
            _ => {
                let error = r#"{"error":"Internal Server Error","message":"Failed to fetch the page"}"#;
                whole(500, &[], error.as_bytes().to_vec())
            }
        })
    }

    fn reply(&self, line: &str, authorization: &str, fault: Option<Fault>) -> Reply {
        let (path, query) = line.split_once('?').unwrap_or((line, ""));
        let query = Query::of(query);
        let mut state = self.state();
        let world = &mut state.world;
        if path.starts_with("/v1/") && authorization.strip_prefix("Bearer ") != Some(KEY) {
            return dome::unauthorized(authorization);
        }
        let reply = match path {
            "/v1/polymarket/orders" => dome::orders(world, &query, fault),
            "/v1/polymarket/markets" => dome::markets(world, &query, fault),
            "/v1/polymarket/events" => dome::events(world, &query, fault),
            "/trades" => polymarket::trades(world, &query, fault),
            "/v2/trades" => polymarket::trades_v2(world, &query, fault),
            "/markets" | "/markets/keyset" => polymarket::markets(world, &query, path.ends_with("keyset"), fault),
            "/events" | "/events/keyset" => polymarket::events(world, &query, path.ends_with("keyset"), fault),
            _ => Err(Reply::refused(404, serde_json::json!({ "error": "not found" }))),
        };
        reply.unwrap_or_else(|refused| refused)
    }
}

fn whole(status: u16, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let mut response = Response::builder().status(status);
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        response = response.header("content-type", "application/json");
    }
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let never = |never: Infallible| match never {};
    response.body(Full::new(Bytes::from(body)).map_err(never).boxed()).unwrap()
}

/// Half of a body, of which the header promises all.
fn cut_short(status: u16, body: Vec<u8>) -> Answer {
    let response = Response::builder().status(status).header("content-type", "application/json");
    let response = response.header("content-length", body.len());
    let half = Bytes::copy_from_slice(&body[..body.len() / 2]);
    let end = async {
        // What was written is sent while this waits; else the client would not see even the header.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(io::Error::other("cut short"))
    };
    let parts = stream::once(async { Ok(Frame::data(half)) }).chain(stream::once(end));
    response.body(BodyExt::boxed(StreamBody::new(parts))).unwrap()
}
