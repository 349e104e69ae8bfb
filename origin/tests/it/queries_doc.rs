//! The worked example of `docs/queries.md`, from nothing to answers.

use crate::support::{Database, Folder, Serving};

const DOC: &str = include_str!("../../../docs/queries.md");

#[test]
fn the_worked_example_works_from_nothing() {
    let folder = Folder::new();
    for block in DOC.split("```sql ").skip(1) {
        let (name, rest) = block.split_once('\n').unwrap();
        folder.write(name, rest.split_once("\n```").unwrap().0);
    }
    let config = DOC.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0;
    let config = folder.write("origin.toml", config);
    let config = config.to_str().unwrap();
    let database = Database::empty();
    database.run(&["migrate", "-c", config]).expect_code(0);
    crate::support::cluster().wait_for_replica().unwrap();
    database.run(&["check", "-c", config]).expect_code(0);
    let serve = ["serve", "--listen", "127.0.0.1:0", "-c", config];
    let mut serving = Serving::start(&mut database.command(&serve));

    let product = serving.get("/products/sku-1");
    assert_eq!(
        (product.status, product.text()),
        (200, r#"{"sku":"sku-1","name":"Product 1","price":1}"#.to_owned())
    );
    assert_eq!(product.field("cache-tag"), Some("product:sku-1,table:products"));
    let first = serving.json("/products?limit=20");
    assert_eq!(first["items"].as_array().unwrap().len(), 20);
    let next = serving.json(&format!("/products?limit=20&cursor={}", first["nextCursor"].as_str().unwrap()));
    let back =
        serving.json(&format!("/products?limit=20&before={}", next["previousCursor"].as_str().unwrap()));
    assert_eq!(back["items"], first["items"]);
    let page = serving.json("/products/pages?page=3");
    assert_eq!((&page["total"], &page["totalPages"]), (&50.into(), &3.into()));
    assert_eq!(page["items"].as_array().unwrap().len(), 10);
    assert_eq!(serving.get("/products?limit=101").status, 400);

    let mut client = rig::http::Client::connect(serving.address).unwrap();
    let json = [("content-type", "application/json")];
    let made = client.call("POST", "/products/sku-1/orders", &json, br#"{"quantity": 2}"#).unwrap();
    assert_eq!((made.status, made.field("location")), (201, Some("/orders/1")), "{}", made.text());
    let changed = client.call("PATCH", "/products/sku-1", &json, br#"{"price": 7}"#).unwrap();
    assert_eq!(
        (changed.status, changed.text()),
        (200, r#"{"sku" : "sku-1", "name" : "Product 1", "price" : 7}"#.to_owned())
    );
    let bulk = client
        .call(
            "POST",
            "/orders",
            &json,
            br#"[{"sku": "sku-2", "quantity": 1}, {"sku": "sku-3", "quantity": 5}]"#,
        )
        .unwrap();
    assert_eq!((bulk.status, bulk.text()), (200, r#"{"made" : 2}"#.to_owned()));
    assert_eq!(
        client.call("POST", "/orders", &json, br#"[{"sku": "sku-2", "quantity": 0}]"#).unwrap().status,
        422
    );
}
