use muster_testkit::Database;
use sqlx::{Connection as _, PgConnection, Row as _};

#[tokio::test]
async fn a_database_is_fresh_has_vectors_and_is_dropped_at_the_end() {
    let (one, two) = tokio::join!(Database::create(), Database::create());
    let mut connection = PgConnection::connect(one.url()).await.unwrap();
    sqlx::raw_sql(
        "CREATE EXTENSION vector; CREATE TABLE t (v vector(3)); INSERT INTO t VALUES ('[1,2,3]')",
    )
    .execute(&mut connection)
    .await
    .unwrap();

    let mut other = PgConnection::connect(two.url()).await.unwrap();
    let row = sqlx::query("SELECT count(*) FROM pg_tables WHERE tablename = 't'")
        .fetch_one(&mut other)
        .await
        .unwrap();
    assert_eq!(row.get::<i64, _>(0), 0, "the other database sees nothing of it");

    let name = one.name().to_owned();
    drop(one);
    let row = sqlx::query("SELECT count(*) FROM pg_database WHERE datname = $1").bind(name);
    let row = row.fetch_one(&mut other).await.unwrap();
    assert_eq!(row.get::<i64, _>(0), 0, "dropped, although a connection was open");
}
