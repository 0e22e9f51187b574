//! A plain HTTP/1.1 client that costs little: it reads, undoes the framing and hands on what it
//! reads, so that the time measured is the server's.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Whatever is asked for comes within this, or never.
const PATIENCE: Duration = Duration::from_secs(300);
/// Large, so that a large body takes few system calls.
const BUFFER: usize = 256 * 1024;
/// No line of a head or of the framing is longer.
const LONGEST_LINE: usize = 16 * 1024;

/// What came back, but for the body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    /// Of the body, without its framing, still encoded.
    pub(crate) bytes: u64,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(this, _)| this.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// A connection, to be used for one request after another.
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
            TcpStream::connect(host).await.with_context(|| format!("connecting {host}"))?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, host, buffer: vec![0; BUFFER], at: 0, end: 0 })
    }

    /// Sends a GET and gives the body to `sink` as it comes. It is an error if the body does not
    /// end as its framing says.
    pub(crate) async fn get(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        mut sink: impl FnMut(&[u8]),
    ) -> Result<Answer> {
        let mut request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n", self.host);
        for (name, value) in headers {
            request.extend([*name, ": ", *value, "\r\n"]);
        }
        request.push_str("\r\n");
        let exchange = async {
            self.stream.write_all(request.as_bytes()).await?;
            let (status, headers) = self.head().await?;
            let mut answer = Answer { status, headers, bytes: 0 };
            answer.bytes = self.body(&answer, &mut sink).await?;
            anyhow::Ok(answer)
        };
        let answer = timeout(PATIENCE, exchange).await.context("no end within the time allowed");
        answer.and_then(|answer| answer).with_context(|| format!("http://{}{path}", self.host))
    }

    async fn head(&mut self) -> Result<(u16, Vec<(String, String)>)> {
        let line = self.line().await?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("no HTTP status in `{line}`"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            let (name, value) = line.split_once(':').context("a header without a colon")?;
            headers.push((name.to_owned(), value.trim().to_owned()));
            ensure!(headers.len() <= 100, "more than a hundred headers");
        }
    }

    async fn body(&mut self, answer: &Answer, sink: &mut impl FnMut(&[u8])) -> Result<u64> {
        if let Some(length) = answer.header("content-length") {
            let length = length.parse().context("a Content-Length that is no number")?;
            self.take(length, sink).await?;
            return Ok(length);
        }
        if answer.header("transfer-encoding") != Some("chunked") {
            bail!("neither a length nor chunks: nobody could tell whether the body is whole");
        }
        let mut bytes = 0;
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).context("a chunk without a size")?;
            self.take(size, sink).await?;
            bytes += size;
            ensure!(self.line().await?.is_empty(), "a chunk is longer than it says");
            if size == 0 {
                return Ok(bytes);
            }
        }
    }

    /// Hands on exactly so many bytes.
    async fn take(&mut self, mut count: u64, sink: &mut impl FnMut(&[u8])) -> Result<()> {
        while count > 0 {
            self.fill().await?;
            let there = self.end - self.at;
            let part = usize::try_from(count).map_or(there, |count| count.min(there));
            sink(&self.buffer[self.at..self.at + part]);
            self.at += part;
            count -= part as u64;
        }
        Ok(())
    }

    /// One line, without its end.
    async fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        loop {
            self.fill().await?;
            let there = &self.buffer[self.at..self.end];
            let end = there.iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(&there[..end.unwrap_or(there.len())]);
            ensure!(line.len() <= LONGEST_LINE, "a line of more than {LONGEST_LINE} bytes");
            match end {
                Some(end) => {
                    self.at += end + 1;
                    let text = String::from_utf8(line).context("a head that is not UTF-8")?;
                    return Ok(text.trim_end_matches('\r').to_owned());
                }
                None => self.at = self.end,
            }
        }
    }

    /// Sees to it that there is at least one byte to read.
    async fn fill(&mut self) -> Result<()> {
        if self.at == self.end {
            (self.at, self.end) = (0, self.stream.read(&mut self.buffer).await?);
            ensure!(self.end > 0, "the connection ended in the middle of an answer");
        }
        Ok(())
    }
}

/// One GET on a connection of its own, its whole body kept.
pub(crate) async fn fetch(
    host: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<(Answer, Vec<u8>)> {
    let mut body = Vec::new();
    let mut connection = Connection::open(host).await?;
    let answer = connection.get(path, headers, |part| body.extend_from_slice(part)).await?;
    Ok((answer, body))
}
