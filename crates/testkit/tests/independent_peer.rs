//! The raw client and the wire crate's packets against an implementation of the server side that is not ours: a mistake that we make on
//! both sides of the protocol shows here.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use grove_testkit::raw_client::{EVERYDAY, Login, describe, error_of};
use grove_testkit::{Kind, RawClient, Sandbox, SandboxOptions, TestDirectory};
use grove_wire::{CapabilityFlags, OkPacket};
use opensrv_mysql::{
    AsyncMysqlIntermediary, AsyncMysqlShim, Column, ColumnFlags, ColumnType, ErrorKind, InitWriter, OkResponse,
    ParamParser, QueryResultWriter, StatementMetaWriter,
};
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;

/// What the peer's asynchronous methods return, as its trait spells it.
type Answer<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>>;

struct Peer;

fn column(name: &str, coltype: ColumnType) -> Column {
    Column {
        table: "t".to_owned(),
        column: name.to_owned(),
        coltype,
        colflags: ColumnFlags::empty(),
    }
}

impl<W: AsyncWrite + Send + Unpin> AsyncMysqlShim<W> for Peer {
    type Error = io::Error;

    fn on_prepare<'a, 'async_trait>(&'a mut self, _: &'a str, info: StatementMetaWriter<'a, W>) -> Answer<'async_trait>
    where
        'a: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let parameters = [column("?", ColumnType::MYSQL_TYPE_LONGLONG)];
            let columns = [
                column("a", ColumnType::MYSQL_TYPE_LONGLONG),
                column("b", ColumnType::MYSQL_TYPE_VAR_STRING),
            ];
            info.reply(42, &parameters, &columns).await
        })
    }

    fn on_execute<'a, 'async_trait>(
        &'a mut self,
        id: u32,
        parameters: ParamParser<'a>,
        results: QueryResultWriter<'a, W>,
    ) -> Answer<'async_trait>
    where
        'a: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let sum: i64 = parameters
                .into_iter()
                .map(|parameter| Into::<i64>::into(parameter.value))
                .sum();
            let answer = OkResponse {
                affected_rows: u64::from(id),
                last_insert_id: sum as u64,
                ..OkResponse::default()
            };
            results.completed(answer).await
        })
    }

    fn on_close<'a, 'async_trait>(&'a mut self, _: u32) -> Pin<Box<dyn Future<Output = ()> + Send + 'async_trait>>
    where
        'a: 'async_trait,
        W: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async {})
    }

    fn on_init<'a, 'async_trait>(&'a mut self, _: &'a str, writer: InitWriter<'a, W>) -> Answer<'async_trait>
    where
        'a: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(writer.ok())
    }

    fn on_query<'a, 'async_trait>(&'a mut self, sql: &'a str, results: QueryResultWriter<'a, W>) -> Answer<'async_trait>
    where
        'a: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            if sql == "fail" {
                return results.error(ErrorKind::ER_DUP_ENTRY, b"Duplicate entry").await;
            }
            let columns = [
                column("a", ColumnType::MYSQL_TYPE_LONGLONG),
                column("b", ColumnType::MYSQL_TYPE_VAR_STRING),
            ];
            let mut rows = results.start(&columns).await?;
            for number in 0..3i64 {
                rows.write_col(number)?;
                rows.write_col((number != 1).then(|| "x".repeat(300 * number as usize)))?;
                rows.end_row().await?;
            }
            rows.finish().await
        })
    }
}

async fn peer() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (reader, writer) = stream.into_split();
            tokio::spawn(AsyncMysqlIntermediary::run_on(Peer, reader, writer));
        }
    });
    address
}

/// The text rows among the packets of a result with two columns.
fn rows(packets: &[bytes::Bytes], capabilities: CapabilityFlags) -> Vec<Vec<Option<Vec<u8>>>> {
    let eof = usize::from(!capabilities.contains(CapabilityFlags::DEPRECATE_EOF));
    packets[1 + 2 + eof..packets.len() - 1]
        .iter()
        .map(|packet| {
            grove_wire::row::text_row(packet)
                .map(|value| value.map(<[u8]>::to_vec))
                .collect()
        })
        .collect()
}

#[tokio::test]
async fn results_errors_and_executions_of_an_independent_server_are_understood() {
    let address = peer().await;
    for capabilities in [EVERYDAY, EVERYDAY | CapabilityFlags::DEPRECATE_EOF] {
        let mut client = RawClient::login(address, &Login::app().with(capabilities))
            .await
            .unwrap();
        let packets = client.query("rows").await.unwrap();
        let expected: Vec<Vec<Option<Vec<u8>>>> = vec![
            vec![Some(b"0".to_vec()), Some(Vec::new())],
            vec![Some(b"1".to_vec()), None],
            vec![Some(b"2".to_vec()), Some(vec![b'x'; 600])],
        ];
        // The peer may not offer everything that was asked for.
        assert_eq!(rows(&packets, client.capabilities), expected);

        let packets = client.query("fail").await.unwrap();
        let error = error_of(&packets[0]).unwrap();
        assert_eq!(describe(&error), "ERROR 1062 (23000): Duplicate entry");

        let (id, _) = client.prepare("anything").await.unwrap();
        assert_eq!(id, 42);
        let mut execute = vec![
            grove_wire::command::COM_STMT_EXECUTE,
            42,
            0,
            0,
            0,
            0,
            1,
            0,
            0,
            0,
            0,
            1,
            8,
            0,
        ];
        execute.extend_from_slice(&77i64.to_le_bytes());
        let packets = client.command(&execute).await.unwrap();
        let ok = OkPacket::parse(&packets[0], client.capabilities).unwrap();
        assert_eq!((ok.affected_rows, ok.last_insert_id), (42, 77));
    }
}

#[tokio::test]
async fn the_raw_client_and_a_driver_see_the_same_rows() {
    let directory = TestDirectory::create().unwrap();
    let sandbox = Sandbox::start(SandboxOptions::new(Kind::MariaDb, 1, directory.path()))
        .await
        .unwrap();
    let address = sandbox.servers[0].address();
    let mut client = RawClient::login(address, &Login::app()).await.unwrap();
    let packets = client.query("SELECT 7, NULL, REPEAT('y', 70000)").await.unwrap();
    // Count, three definitions, EOF, one row, EOF.
    assert_eq!(packets.len(), 7);
    let row: Vec<_> = grove_wire::row::text_row(&packets[5]).collect();
    assert_eq!(row, [Some(&b"7"[..]), None, Some(&[b'y'; 70_000][..])]);
}
