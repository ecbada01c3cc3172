//! A browser, driven over WebDriver (W3C Recommendation, 5 June 2018): Debian's Chromium with its driver.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::handshake;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// The key under which WebDriver names an element (section 11).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Tab, Enter and the arrow down as keys (section 17.4.2).
pub const TAB: &str = "\u{e004}";
pub const DOWN: &str = "\u{e015}";
pub const ENTER: &str = "\u{e007}";

/// A browser with one window and a profile of its own.
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts one; none where there is no driver.
    pub async fn start() -> Option<Self> {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut driver = command.spawn().ok()?;
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next().expect("the driver says its port").unwrap();
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').parse().unwrap();
            }
        };
        // or the driver would wait until somebody reads on
        std::thread::spawn(move || lines.for_each(drop));
        let profile = tempfile::tempdir().unwrap();
        let folder = format!("--user-data-dir={}", profile.path().display());
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &folder,
        ];
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut browser = Self { driver, address, session: String::new(), _profile: profile };
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "acceptInsecureCerts": true,
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            "goog:chromeOptions": { "args": arguments },
        } } });
        let made = browser.call(Method::POST, "/session", capabilities).await;
        browser.session = format!("/session/{}", made["sessionId"].as_str().unwrap());
        Some(browser)
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        self.try_call(method, path, body).await.unwrap_or_else(|value| panic!("{path}: {value}"))
    }

    /// What the driver answers, or what it says of why it does not.
    async fn try_call(&self, method: Method, path: &str, body: Value) -> Result<Value, Value> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let is_get = method == Method::GET;
        let body = if is_get { Bytes::new() } else { body.to_string().into() };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .header("content-type", "application/json")
            .body(Full::new(body))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let mut answer: Value = serde_json::from_slice(&body).unwrap();
        let value = answer["value"].take();
        if status.is_success() { Ok(value) } else { Err(value) }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.call(Method::POST, &format!("{}{path}", self.session), body).await
    }

    /// Goes to a page and waits until it is loaded.
    pub async fn go(&self, url: &str) {
        self.post("/url", json!({ "url": url })).await;
    }

    /// Goes back, as the button does.
    pub async fn back(&self) {
        self.post("/back", json!({})).await;
    }

    /// Where it is.
    pub async fn url(&self) -> String {
        let path = format!("{}/url", self.session);
        self.call(Method::GET, &path, Value::Null).await.as_str().unwrap().to_owned()
    }

    /// Runs a function's body in the page; gives what it returns. A page that goes while it is asked is no answer: the
    /// one that comes in its place is asked.
    pub async fn run(&self, script: &str) -> Value {
        let path = format!("{}/execute/sync", self.session);
        let mut left = 50;
        loop {
            let body = json!({ "script": script, "args": [] });
            match self.try_call(Method::POST, &path, body).await {
                Ok(value) => return value,
                Err(said) if left > 0 && is_on_its_way(&said) => left -= 1,
                Err(said) => panic!("{script}: {said}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What a person reads on the page.
    pub async fn text(&self) -> String {
        self.run("return document.body.innerText").await.as_str().unwrap().to_owned()
    }

    async fn element(&self, selector: &str) -> String {
        let find = json!({ "using": "css selector", "value": selector });
        self.post("/element", find).await[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Clicks on the first element that a selector matches. A page that it leads to is loaded then.
    pub async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.post(&format!("/element/{element}/click"), json!({})).await;
    }

    /// Types into the first element that a selector matches, in place of what is there.
    pub async fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.post(&format!("/element/{element}/clear"), json!({})).await;
        self.post(&format!("/element/{element}/value"), json!({ "text": text })).await;
    }

    /// Presses keys where the focus is.
    pub async fn press(&self, keys: &str) {
        let press = |key: char| {
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
        };
        let actions: Vec<Value> = keys.chars().flat_map(press).collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.post("/actions", json!({ "actions": [keyboard] })).await;
    }

    /// Makes the page as large as on some screen, and bright or dark.
    pub async fn show_as(&self, width: u32, height: u32, scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.post("/goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    /// The cookie that the page's server has set, as it is sent.
    pub async fn cookie(&self) -> String {
        let path = format!("{}/cookie", self.session);
        let cookies = self.call(Method::GET, &path, Value::Null).await;
        let cookies = cookies.as_array().unwrap().iter();
        let text = |it: &Value, name: &str| it[name].as_str().unwrap().to_owned();
        let pairs = cookies.map(|it| format!("{}={}", text(it, "name"), text(it, "value")));
        pairs.collect::<Vec<_>>().join("; ")
    }

    /// Keeps nothing from one page to the next but cookies.
    pub async fn without_cache(&self) {
        self.devtools("Network.enable", json!({})).await;
        self.devtools("Network.setCacheDisabled", json!({ "cacheDisabled": true })).await;
    }

    /// Runs a script in each page before its own.
    pub async fn before_each_page(&self, script: &str) {
        let source = json!({ "source": script });
        self.devtools("Page.addScriptToEvaluateOnNewDocument", source).await;
    }

    /// What the console said since it was last asked.
    pub async fn complaints(&self) -> Vec<String> {
        let said = self.post("/se/log", json!({ "type": "browser" })).await;
        let said = said.as_array().unwrap().iter();
        said.map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// What was asked of any server since it was last asked.
    pub async fn requests(&self) -> Vec<String> {
        let said = self.post("/se/log", json!({ "type": "performance" })).await;
        let events = said.as_array().unwrap().iter().map(|entry| {
            let event: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            event["message"].clone()
        });
        events
            .filter(|event| event["method"] == "Network.requestWillBeSent")
            .map(|event| event["params"]["request"]["url"].as_str().unwrap().to_owned())
            .collect()
    }

    /// A picture of the window, for its author to look at: into the folder of COALITION_SCREENSHOTS, if that is set.
    pub async fn picture(&self, name: &str) {
        let Ok(folder) = std::env::var("COALITION_SCREENSHOTS") else { return };
        let shot =
            self.devtools("Page.captureScreenshot", json!({ "captureBeyondViewport": true })).await;
        let picture = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        std::fs::write(std::path::Path::new(&folder).join(format!("{name}.png")), picture).unwrap();
    }
}

/// Whether the driver did not run a script because the page was left for another.
fn is_on_its_way(said: &Value) -> bool {
    let words = said["message"].as_str().unwrap_or_default();
    ["aborted by navigation", "navigated or closed", "execution context", "frame detached"]
        .iter()
        .any(|cause| words.contains(cause))
}

impl Drop for Browser {
    fn drop(&mut self) {
        // the driver and its browser, which are a group of processes
        let group = format!("-{}", self.driver.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.driver.wait();
    }
}
