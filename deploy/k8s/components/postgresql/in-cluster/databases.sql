-- One database per service; no service reads another's.
CREATE DATABASE ids ENCODING 'UTF8' TEMPLATE template0;
CREATE DATABASE auth ENCODING 'UTF8' TEMPLATE template0;
