//! The HTTP client of the chats API.
