//! A minimal HTTP/1.1 client, so that the measured time is mostly the server's.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const TIMEOUT: Duration = Duration::from_secs(300);
/// Large, to save system calls.
const BUFFER: usize = 256 * 1024;
const MAX_LINE: usize = 16 * 1024;

/// The head of a response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    /// Bytes of the body, without its chunk framing.
    pub(crate) bytes: u64,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_str())
    }
}

/// A persistent connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    host: SocketAddr,
    buffer: Vec<u8>,
    at: usize,
    end: usize,
}

impl Connection {
    pub(crate) async fn open(host: SocketAddr) -> Result<Connection> {
        let stream =
            TcpStream::connect(host).await.with_context(|| format!("cannot connect to {host}"))?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, host, buffer: vec![0; BUFFER], at: 0, end: 0 })
    }

    /// Sends a GET and streams the body to `sink`. Fails if the body is incomplete.
    pub(crate) async fn get(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        mut sink: impl FnMut(&[u8]),
    ) -> Result<Response> {
        let mut request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n", self.host);
        for (name, value) in headers {
            request.extend([*name, ": ", *value, "\r\n"]);
        }
        request.push_str("\r\n");
        let exchange = async {
            self.stream.write_all(request.as_bytes()).await?;
            let (status, headers) = self.head().await?;
            let mut response = Response { status, headers, bytes: 0 };
            response.bytes = self.body(&response, &mut sink).await?;
            anyhow::Ok(response)
        };
        let response = timeout(TIMEOUT, exchange).await.context("timeout");
        response
            .and_then(|response| response)
            .with_context(|| format!("http://{}{path}", self.host))
    }

    async fn head(&mut self) -> Result<(u16, Vec<(String, String)>)> {
        let line = self.line().await?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("invalid status line `{line}`"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            let (name, value) = line.split_once(':').context("header without a colon")?;
            headers.push((name.to_owned(), value.trim().to_owned()));
            ensure!(headers.len() <= 100, "more than a hundred headers");
        }
    }

    async fn body(&mut self, response: &Response, sink: &mut impl FnMut(&[u8])) -> Result<u64> {
        if let Some(length) = response.header("content-length") {
            let length = length.parse().context("invalid Content-Length")?;
            self.read_exact(length, sink).await?;
            return Ok(length);
        }
        if response.header("transfer-encoding") != Some("chunked") {
            bail!("neither Content-Length nor chunks");
        }
        let mut bytes = 0;
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).context("invalid chunk size")?;
            self.read_exact(size, sink).await?;
            bytes += size;
            ensure!(self.line().await?.is_empty(), "invalid end of a chunk");
            if size == 0 {
                return Ok(bytes);
            }
        }
    }

    /// Reads this many bytes into `sink`.
    async fn read_exact(&mut self, mut count: u64, sink: &mut impl FnMut(&[u8])) -> Result<()> {
        while count > 0 {
            self.fill().await?;
            let available = self.end - self.at;
            let part = usize::try_from(count).map_or(available, |count| count.min(available));
            sink(&self.buffer[self.at..self.at + part]);
            self.at += part;
            count -= part as u64;
        }
        Ok(())
    }

    /// Reads a line, without its end.
    async fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        loop {
            self.fill().await?;
            let available = &self.buffer[self.at..self.end];
            let end = available.iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(&available[..end.unwrap_or(available.len())]);
            ensure!(line.len() <= MAX_LINE, "line longer than {MAX_LINE} bytes");
            match end {
                Some(end) => {
                    self.at += end + 1;
                    let text = String::from_utf8(line).context("the head is not UTF-8")?;
                    return Ok(text.trim_end_matches('\r').to_owned());
                }
                None => self.at = self.end,
            }
        }
    }

    /// Ensures that the buffer has at least one unread byte.
    async fn fill(&mut self) -> Result<()> {
        if self.at == self.end {
            (self.at, self.end) = (0, self.stream.read(&mut self.buffer).await?);
            ensure!(self.end > 0, "the connection closed before the end of the response");
        }
        Ok(())
    }
}

/// Sends a GET on a new connection. Returns the body, too.
pub(crate) async fn fetch(
    host: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<(Response, Vec<u8>)> {
    let mut body = Vec::new();
    let mut connection = Connection::open(host).await?;
    let response = connection.get(path, headers, |part| body.extend_from_slice(part)).await?;
    Ok((response, body))
}
