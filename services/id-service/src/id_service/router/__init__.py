"""From a request to ids: who may ask, which algorithm answers, in which form."""
