//! The room that talks HTTP: one client, one rate for all walks, and what may be repeated is repeated.

use super::endpoint::{Ask, Endpoint, Facts, Refusal};
use super::source::Feed;
use crate::error::{Doing, Error, Kind, Result};
use crate::progress::Progress;
use crate::retry::{Again, Failure, Waits, retry};
use flate2::read::MultiGzDecoder;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use std::io::Read;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

/// The largest body that is read, packed or not: a page is far smaller.
const MAX_BODY_BYTES: u64 = 64 << 20;
/// The fewest rows that a page is asked for.
const LEAST_ROWS: u32 = 10;
/// How much of an answer is repeated in an error.
const SHOWN_CHARS: usize = 200;

/// How an API is asked.
#[derive(Clone)]
pub struct HttpOptions {
    /// Sent as a bearer token, where there is one. Never printed.
    pub key: Option<String>,
    /// At most so many requests a second, over all walks.
    pub requests_per_second: f64,
    /// How long an answer may take, from the first byte that is sent to the last that comes.
    pub timeout: Duration,
    /// How often and when to repeat.
    pub waits: Waits,
}

impl std::fmt::Debug for HttpOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpOptions").field("has_key", &self.key.is_some()).finish_non_exhaustive()
    }
}

/// What came of a request that the API did not refuse for good.
#[derive(Debug)]
pub(super) enum Answer {
    /// A page, with its body as text; bytes that are no UTF-8 stay in `body`.
    Page { facts: Facts, asked_rows: u64, body: Vec<u8> },
    /// The offset is too great.
    OutOfReach,
    /// The API does not know the cursor any more.
    LostPlace,
}

/// A text that is never printed.
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a secret")
    }
}

/// Asks one API. Walks share it.
#[derive(Debug)]
pub struct Http {
    client: reqwest::Client,
    /// To be taken out of answers before they are told: some repeat what they were sent.
    key: Option<Secret>,
    waits: Waits,
    /// When the next request may go out.
    next: Mutex<Instant>,
    interval: Duration,
    /// How many rows a page is asked for; fewer while answers fail or take too long.
    rows: AtomicU32,
    requests: AtomicU64,
    repeated: AtomicU64,
    /// Requests that were given up since the last answer that was of use.
    failed: AtomicU32,
}

impl Http {
    /// A client for one API.
    ///
    /// # Errors
    /// Usage, when the key can't be part of a request; a bug, when there is no TLS.
    pub fn new(options: &HttpOptions) -> Result<Http> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        if let Some(key) = &options.key {
            // The error must not repeat the key, so the cause is left out.
            let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
                .map_err(|_| Error::usage("use the API's key").because("it has characters that no header may have"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = reqwest::Client::builder()
            .default_headers(headers)
            // The key would go along, and a page from elsewhere is none of this API's.
            .redirect(Policy::none())
            .timeout(options.timeout)
            .user_agent(concat!("tradefold/", env!("CARGO_PKG_VERSION")))
            .build()
            .doing("set up an HTTP client")?;
        Ok(Http {
            client,
            key: options.key.clone().filter(|key| !key.is_empty()).map(Secret),
            waits: options.waits,
            next: Mutex::new(Instant::now()),
            interval: Duration::from_secs_f64(1.0 / options.requests_per_second.max(0.001)),
            rows: AtomicU32::new(u32::MAX),
            requests: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            // Until there is an answer, it is the API that fails, and not one piece of it.
            failed: AtomicU32::new(u32::MAX / 2),
        })
    }

    /// Requests that were sent, those that were sent again included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests that were sent again, since the answer before was of no use.
    pub fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// Requests that were given up since the last answer that was of use.
    pub(super) fn failed(&self) -> u32 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Asks for a page until it comes, is refused, or was asked for often enough.
    ///
    /// # Errors
    /// Transient, where it may work later; refused, where the credentials are not enough; usage, where the request is
    /// wrong.
    pub(super) async fn ask(&self, feed: &Feed, ask: &Ask, progress: &dyn Progress) -> Result<Answer> {
        let mut tries = 0_u64;
        let attempt = || {
            tries += 1;
            self.repeated.fetch_add(u64::from(tries > 1), Ordering::Relaxed);
            // A smaller page may get through where a large one takes too long or is cut short; once may be chance.
            self.once(feed, ask, tries > 1)
        };
        let asked = retry(&self.waits, progress, attempt).await;
        match asked {
            Ok(_) => self.failed.store(0, Ordering::Relaxed),
            Err(_) => drop(self.failed.fetch_add(1, Ordering::Relaxed)),
        }
        asked.map_err(|error| match error.kind() == Kind::Transient && error.advice().is_none() {
            true => error.hint("run the same command again later: what was fetched is kept"),
            false => error,
        })
    }

    async fn once(&self, feed: &Feed, ask: &Ask, shrinks: bool) -> Result<Answer, Failure> {
        let endpoint = &feed.endpoint;
        let never = |error| Failure { error, again: Again::Never };
        let rows = self.rows.load(Ordering::Relaxed).min(endpoint.most_rows);
        let url = request_url(&feed.url, endpoint, &endpoint.query(&feed.filter, ask, rows)).map_err(never)?;
        self.turn().await;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let failed = |kind| Error::new(kind, format!("fetch a page of {}", endpoint.name)).with("url", &url);
        let (status, headers, body) = match self.exchange(&url).await {
            Ok(answer) => answer,
            Err(cause) => {
                if shrinks {
                    self.ask_for_fewer(endpoint, rows);
                }
                return Err(Failure { error: failed(Kind::Transient).because(cause), again: Again::Later });
            }
        };
        if status == 200 {
            return match self.read(endpoint, ask, &body) {
                Ok(facts) => {
                    self.ask_for_more(endpoint, rows);
                    Ok(Answer::Page { facts, asked_rows: rows.into(), body })
                }
                Err(why) => {
                    let why = format!("{why}; it begins with {}", self.beginning(&body));
                    Err(Failure { error: failed(Kind::Transient).because(why), again: Again::Later })
                }
            };
        }
        let text = String::from_utf8_lossy(&body).into_owned();
        let mut why = format!("it answered with {status}: {}", self.beginning(&body));
        if let Some(place) = headers.get("location").and_then(|value| value.to_str().ok()) {
            let place = self.without_key(without_query(place));
            why.push_str(&format!(" and points to {place}, which is not followed"));
        }
        let error = |kind| failed(kind).because(why.clone());
        match Refusal::of(status, &text) {
            Refusal::OutOfReach => Ok(Answer::OutOfReach),
            Refusal::LostPlace => Ok(Answer::LostPlace),
            Refusal::Credentials => {
                let hint = "check the API's key in the environment: TRADEFOLD_API_KEY, or DOME_API_KEY";
                Err(never(error(Kind::Refused).hint(hint)))
            }
            Refusal::Wrong => {
                Err(never(error(Kind::Usage).hint("check the filters, and the API's address in --base-url")))
            }
            Refusal::FewerRows if rows > LEAST_ROWS => {
                self.ask_for_fewer(endpoint, rows);
                Err(Failure { error: error(Kind::Transient), again: Again::Later })
            }
            Refusal::FewerRows => Err(never(error(Kind::Usage).hint("the API refuses pages of any size"))),
            Refusal::Later => {
                if status >= 500 && shrinks {
                    self.ask_for_fewer(endpoint, rows);
                }
                let asked = asked_wait(&headers, &text);
                if let Some(wait) = asked
                    && status == 429
                {
                    // All walks are meant, not only the one that heard it.
                    self.pause(wait.min(self.waits.most.saturating_mul(4))).await;
                }
                Err(Failure { error: error(Kind::Transient), again: asked.map_or(Again::Later, Again::After) })
            }
        }
    }

    /// Sends a request and reads the answer, unpacked. The text says what failed.
    async fn exchange(&self, url: &Url) -> std::result::Result<(u16, HeaderMap, Vec<u8>), String> {
        let told = |error: reqwest::Error| {
            let error = error.without_url();
            let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
            causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
        };
        let mut answer = self.client.get(url.clone()).send().await.map_err(told)?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let mut packed = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(told)? {
            packed.extend_from_slice(&chunk);
            if packed.len() as u64 > MAX_BODY_BYTES {
                return Err(format!("the answer is longer than {} MiB", MAX_BODY_BYTES >> 20));
            }
        }
        let is_packed = headers.get(CONTENT_ENCODING).is_some_and(|value| value.as_bytes() == b"gzip");
        let body = if is_packed { unpacked(&packed)? } else { packed };
        Ok((status, headers, body))
    }

    fn without_key(&self, text: &str) -> String {
        match &self.key {
            Some(Secret(key)) => text.replace(key.as_str(), "(the key)"),
            None => text.to_string(),
        }
    }

    /// The beginning of an answer, on one line.
    fn beginning(&self, body: &[u8]) -> String {
        // Before it is cut, or half of a key would be left.
        let text = self.without_key(&String::from_utf8_lossy(body));
        let words = text.split_whitespace().take(SHOWN_CHARS).collect::<Vec<_>>().join(" ");
        let line: String = words.chars().take(SHOWN_CHARS).collect();
        if line.is_empty() { "nothing".into() } else { format!("{line:?}") }
    }

    fn read(&self, endpoint: &Endpoint, ask: &Ask, body: &[u8]) -> std::result::Result<Facts, String> {
        endpoint.read(&String::from_utf8_lossy(body), &ask.piece)
    }

    /// Waits until it is this request's turn.
    async fn turn(&self) {
        let at = {
            let mut next = self.next.lock().await;
            let at = (*next).max(Instant::now());
            *next = at + self.interval;
            at
        };
        tokio::time::sleep_until(at).await;
    }

    /// Lets nobody begin to wait for a turn before a while is over; who has one may use it.
    async fn pause(&self, wait: Duration) {
        let mut next = self.next.lock().await;
        *next = (*next).max(Instant::now() + wait);
    }

    fn ask_for_fewer(&self, endpoint: &Endpoint, rows: u32) {
        self.rows.store((rows / 2).max(LEAST_ROWS).min(endpoint.most_rows), Ordering::Relaxed);
    }

    fn ask_for_more(&self, endpoint: &Endpoint, rows: u32) {
        if rows < endpoint.most_rows {
            // Not past what another walk has just found to be too many.
            let more = rows.saturating_mul(2).min(endpoint.most_rows);
            let _ = self.rows.compare_exchange(rows, more, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// Reads an API's address, without a slash at its end.
///
/// # Errors
/// Usage, when it is none, is not safe to ask, or may hold a secret, which is not repeated.
pub fn parse_address(base: &str) -> Result<Url> {
    let url = Url::parse(base.trim_end_matches('/'));
    let may_be_secret = base.contains(['@', '?', '#']);
    if may_be_secret {
        return Err(Error::usage("read the API's address")
            .because("it has a name, a password or a query in it")
            .hint("give the key in the environment"));
    }
    let refused = |why: String| Error::usage("read the API's address").with("url", base).because(why);
    let url = url.map_err(|error| refused(error.to_string()))?;
    let is_here = url.host_str().is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host));
    match url.scheme() {
        "https" => {}
        "http" if is_here => {}
        _ => return Err(refused("a page has to come over https, unless from this machine".into())),
    }
    Ok(url)
}

/// The address of a request. The key is in a header and never in it.
fn request_url(base: &str, endpoint: &Endpoint, query: &[(String, String)]) -> Result<Url> {
    let mut url = parse_address(&format!("{}/{}", base.trim_end_matches('/'), endpoint.path))?;
    url.query_pairs_mut().extend_pairs(query);
    Ok(url)
}

fn unpacked(packed: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let mut body = Vec::new();
    let read = MultiGzDecoder::new(packed).take(MAX_BODY_BYTES + 1).read_to_end(&mut body);
    read.map_err(|error| format!("the answer says that it is gzip and is not: {error}"))?;
    match body.len() as u64 > MAX_BODY_BYTES {
        true => Err(format!("the answer is longer than {} MiB when it is unpacked", MAX_BODY_BYTES >> 20)),
        false => Ok(body),
    }
}

/// How long the API asks to be left alone: in a header, in seconds, or in the body.
fn asked_wait(headers: &HeaderMap, body: &str) -> Option<Duration> {
    #[derive(serde::Deserialize)]
    struct Body {
        retry_after: f64,
    }
    let header = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse::<f64>().ok());
    let seconds = header.or_else(|| serde_json::from_str::<Body>(body).ok().map(|body| body.retry_after))?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// An address without what may be a secret.
fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}
