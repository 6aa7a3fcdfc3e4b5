"""The one way of separation: any recording and any model to stems, in constant memory."""
