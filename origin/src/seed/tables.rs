//! Which columns each table gets, and from which rows. In the order in which the tables refer to each other.

use std::error::Error as StdError;

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::Transaction;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::copy;
use super::progress::Progress;
use super::random::Moment;
use super::rows::Sizes;

pub(super) async fn users(
    to: &Transaction<'_>,
    sizes: Sizes,
    progress: &mut Progress,
) -> Result<i64, tokio_postgres::Error> {
    let columns = [
        ("id", Type::INT8),
        ("public_id", Type::TEXT),
        ("name", Type::TEXT),
        ("handle", Type::TEXT),
        ("email", Type::TEXT),
        ("is_bot", Type::BOOL),
        ("is_private", Type::BOOL),
        ("languages", Type::TEXT_ARRAY),
        ("preferences", Type::JSONB),
        ("created_at", Type::TIMESTAMPTZ),
        ("updated_at", Type::TIMESTAMPTZ),
    ];
    copy(to, "users", columns, sizes.users, progress, |index, batch| {
        let user = sizes.user(index + 1);
        batch.push([
            Box::new(key(user.id)),
            Box::new(format!("usr-{}", user.id)),
            Box::new(user.name),
            Box::new(user.handle),
            Box::new(user.email),
            Box::new(user.is_bot),
            Box::new(user.is_private),
            Box::new(user.languages),
            Box::new(Jsonb(user.preferences)),
            Box::new(user.created_at),
            Box::new(user.updated_at),
        ]);
    })
    .await
}

pub(super) async fn teams(
    to: &Transaction<'_>,
    sizes: Sizes,
    progress: &mut Progress,
) -> Result<i64, tokio_postgres::Error> {
    let columns = [
        ("id", Type::INT8),
        ("public_id", Type::TEXT),
        ("name", Type::TEXT),
        ("handle", Type::TEXT),
        ("is_private", Type::BOOL),
        ("permissions", Type::JSONB),
        ("created_at", Type::TIMESTAMPTZ),
        ("updated_at", Type::TIMESTAMPTZ),
    ];
    copy(to, "teams", columns, sizes.teams, progress, |index, batch| {
        let team = sizes.team(index + 1);
        batch.push([
            Box::new(key(team.id)),
            Box::new(format!("team-{}", team.id)),
            Box::new(team.name),
            Box::new(team.handle),
            Box::new(team.is_private),
            Box::new(Jsonb(team.permissions)),
            Box::new(team.created_at),
            Box::new(team.created_at),
        ]);
    })
    .await
}

pub(super) async fn members(
    to: &Transaction<'_>,
    sizes: Sizes,
    progress: &mut Progress,
) -> Result<i64, tokio_postgres::Error> {
    let columns = [
        ("id", Type::INT8),
        ("user_id", Type::INT8),
        ("team_id", Type::INT8),
        ("is_admin", Type::BOOL),
        ("created_at", Type::TIMESTAMPTZ),
    ];
    let mut id = 0;
    copy(to, "members", columns, sizes.users, progress, |index, batch| {
        for member in sizes.memberships(index + 1) {
            id += 1;
            batch.push([
                Box::new(key(id)),
                Box::new(key(member.user)),
                Box::new(key(member.team)),
                Box::new(member.is_admin),
                Box::new(member.created_at),
            ]);
        }
    })
    .await
}

pub(super) async fn resources(
    to: &Transaction<'_>,
    sizes: Sizes,
    progress: &mut Progress,
) -> Result<i64, tokio_postgres::Error> {
    let columns = [
        ("id", Type::INT8),
        ("public_id", Type::TEXT),
        ("created_by_id", Type::INT8),
        ("team_id", Type::INT8),
        ("resource_type", Type::TEXT),
        ("is_private", Type::BOOL),
        ("is_deleted", Type::BOOL),
        ("has_complete_version", Type::BOOL),
        ("score", Type::INT4),
        ("bookmarks", Type::INT4),
        ("views", Type::INT4),
        ("config", Type::JSONB),
        ("created_at", Type::TIMESTAMPTZ),
        ("updated_at", Type::TIMESTAMPTZ),
    ];
    copy(to, "resources", columns, sizes.resources, progress, |index, batch| {
        let resource = sizes.resource(index + 1);
        batch.push([
            Box::new(key(resource.id)),
            Box::new(format!("res-{}", resource.id)),
            Box::new(resource.creator.map(key)),
            Box::new(resource.team.map(key)),
            Box::new(resource.kind),
            Box::new(resource.is_private),
            Box::new(resource.is_deleted),
            Box::new(resource.has_complete_version),
            Box::new(resource.score),
            Box::new(resource.bookmarks),
            Box::new(resource.views),
            Box::new(Jsonb(resource.config)),
            Box::new(resource.created_at),
            Box::new(resource.updated_at),
        ]);
    })
    .await
}

pub(super) async fn versions(
    to: &Transaction<'_>,
    sizes: Sizes,
    progress: &mut Progress,
) -> Result<i64, tokio_postgres::Error> {
    let columns = [
        ("id", Type::INT8),
        ("public_id", Type::TEXT),
        ("root_id", Type::INT8),
        ("version_index", Type::INT4),
        ("version_label", Type::TEXT),
        ("name", Type::TEXT),
        ("is_latest", Type::BOOL),
        ("is_complete", Type::BOOL),
        ("config", Type::JSONB),
        ("created_at", Type::TIMESTAMPTZ),
    ];
    let mut id = 0;
    copy(to, "resource_versions", columns, sizes.resources, progress, |index, batch| {
        for version in sizes.versions(index + 1) {
            id += 1;
            batch.push([
                Box::new(key(id)),
                Box::new(format!("ver-{id}")),
                Box::new(key(version.resource)),
                Box::new(version.index),
                Box::new(format!("1.{}.0", version.index)),
                Box::new(version.name),
                Box::new(version.is_latest),
                Box::new(version.is_complete),
                Box::new(Jsonb(version.config)),
                Box::new(version.created_at),
            ]);
        }
    })
    .await
}

pub(super) async fn runs(
    to: &Transaction<'_>,
    sizes: Sizes,
    versions: i64,
    progress: &mut Progress,
) -> Result<i64, tokio_postgres::Error> {
    let columns = [
        ("id", Type::INT8),
        ("public_id", Type::TEXT),
        ("user_id", Type::INT8),
        ("resource_version_id", Type::INT8),
        ("name", Type::TEXT),
        ("status", Type::TEXT),
        ("started_at", Type::TIMESTAMPTZ),
        ("completed_at", Type::TIMESTAMPTZ),
        ("created_at", Type::TIMESTAMPTZ),
        ("updated_at", Type::TIMESTAMPTZ),
    ];
    let versions = u64::try_from(versions).unwrap_or(0);
    copy(to, "runs", columns, sizes.runs, progress, |index, batch| {
        let run = sizes.run(index + 1, versions);
        batch.push([
            Box::new(key(run.id)),
            Box::new(format!("run-{}", run.id)),
            Box::new(run.user.map(key)),
            Box::new(run.version.map(key)),
            Box::new(run.name),
            Box::new(run.status),
            Box::new(run.started_at),
            Box::new(run.completed_at),
            Box::new(run.created_at),
            Box::new(run.completed_at.or(run.started_at).unwrap_or(run.created_at)),
        ]);
    })
    .await
}

pub(super) async fn tags(
    to: &Transaction<'_>,
    sizes: Sizes,
    progress: &mut Progress,
) -> Result<i64, tokio_postgres::Error> {
    let columns = [("id", Type::INT8), ("name", Type::TEXT), ("created_at", Type::TIMESTAMPTZ)];
    copy(to, "tags", columns, sizes.tags, progress, |index, batch| {
        let tag = sizes.tag(index + 1);
        batch.push([Box::new(key(tag.id)), Box::new(tag.name), Box::new(tag.created_at)]);
    })
    .await
}

pub(super) async fn resource_tags(
    to: &Transaction<'_>,
    sizes: Sizes,
    progress: &mut Progress,
) -> Result<i64, tokio_postgres::Error> {
    let columns = [("resource_id", Type::INT8), ("tag_id", Type::INT8)];
    copy(to, "resource_tags", columns, sizes.resources, progress, |index, batch| {
        for tag in sizes.tags_of(index + 1) {
            batch.push([Box::new(key(index + 1)), Box::new(key(tag))]);
        }
    })
    .await
}

pub(super) async fn chats(
    to: &Transaction<'_>,
    sizes: Sizes,
    progress: &mut Progress,
) -> Result<i64, tokio_postgres::Error> {
    let columns = [
        ("id", Type::INT8),
        ("public_id", Type::TEXT),
        ("team_id", Type::INT8),
        ("name", Type::TEXT),
        ("is_private", Type::BOOL),
        ("created_at", Type::TIMESTAMPTZ),
        ("updated_at", Type::TIMESTAMPTZ),
    ];
    copy(to, "chats", columns, sizes.chats, progress, |index, batch| {
        let chat = sizes.chat(index + 1);
        batch.push([
            Box::new(key(chat.id)),
            Box::new(format!("chat-{}", chat.id)),
            Box::new(chat.team.map(key)),
            Box::new(chat.name),
            Box::new(chat.is_private),
            Box::new(chat.created_at),
            Box::new(chat.created_at),
        ]);
    })
    .await
}

pub(super) async fn participants(
    to: &Transaction<'_>,
    sizes: Sizes,
    progress: &mut Progress,
) -> Result<i64, tokio_postgres::Error> {
    let columns = [
        ("id", Type::INT8),
        ("chat_id", Type::INT8),
        ("user_id", Type::INT8),
        ("has_unread", Type::BOOL),
        ("last_read_at", Type::TIMESTAMPTZ),
        ("created_at", Type::TIMESTAMPTZ),
    ];
    let mut id = 0;
    copy(to, "chat_participants", columns, sizes.chats, progress, |index, batch| {
        for participant in sizes.participants(index + 1) {
            id += 1;
            batch.push([
                Box::new(key(id)),
                Box::new(key(index + 1)),
                Box::new(key(participant.user)),
                Box::new(participant.has_unread),
                Box::new(participant.last_read_at),
                Box::new(participant.created_at),
            ]);
        }
    })
    .await
}

pub(super) async fn messages(
    to: &Transaction<'_>,
    sizes: Sizes,
    progress: &mut Progress,
) -> Result<i64, tokio_postgres::Error> {
    let columns = [
        ("id", Type::INT8),
        ("public_id", Type::TEXT),
        ("chat_id", Type::INT8),
        ("user_id", Type::INT8),
        ("parent_id", Type::INT8),
        ("text", Type::TEXT),
        ("created_at", Type::TIMESTAMPTZ),
        ("updated_at", Type::TIMESTAMPTZ),
    ];
    let mut before = 0;
    copy(to, "chat_messages", columns, sizes.chats, progress, |index, batch| {
        let messages = sizes.messages(index + 1);
        let count = messages.len() as u64;
        for (message, id) in messages.into_iter().zip(before + 1..) {
            batch.push([
                Box::new(key(id)),
                Box::new(format!("msg-{id}")),
                Box::new(key(index + 1)),
                Box::new(key(message.user)),
                Box::new(message.answers.map(|back| key(id - back))),
                Box::new(message.text),
                Box::new(message.created_at),
                Box::new(message.created_at),
            ]);
        }
        before += count;
    })
    .await
}

pub(super) async fn sessions(
    to: &Transaction<'_>,
    sizes: Sizes,
    progress: &mut Progress,
) -> Result<i64, tokio_postgres::Error> {
    let columns = [
        ("id", Type::INT8),
        ("user_id", Type::INT8),
        ("token_hash", Type::BYTEA),
        ("is_active", Type::BOOL),
        ("created_at", Type::TIMESTAMPTZ),
        ("expires_at", Type::TIMESTAMPTZ),
    ];
    let mut id = 0;
    copy(to, "sessions", columns, sizes.users, progress, |index, batch| {
        for session in sizes.sessions(index + 1) {
            id += 1;
            batch.push([
                Box::new(key(id)),
                Box::new(key(index + 1)),
                Box::new(session.token_hash),
                Box::new(session.is_active),
                Box::new(session.created_at),
                Box::new(session.expires_at),
            ]);
        }
    })
    .await
}

/// Keys count rows, of which no table has that many.
fn key(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

/// A text that is JSON.
#[derive(Debug)]
struct Jsonb(String);

impl ToSql for Jsonb {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        // The version of the format.
        out.put_u8(1);
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::JSONB
    }

    to_sql_checked!();
}

impl ToSql for Moment {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.put_i64(self.since_2000_us());
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}
