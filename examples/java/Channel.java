// A client's message to the CRM and the manager's answers out of it, in Java, with Debian's packages.
//
//   $ sudo apt-get install default-jdk-headless libgrpc-java libnetty-java libprotobuf-java protobuf-compiler protobuf-compiler-grpc-java-plugin
//   $ mkdir -p generated classes
//   $ protoc -I ../../proto --java_out=generated --grpc-java_out=generated ../../proto/amochats/v1/*.proto
//   $ javac -cp '/usr/share/java/*' -d classes Channel.java $(find generated -name '*.java')
//   $ java -cp 'classes:/usr/share/java/*' Channel "$ACCOUNT_ID" "Is my order ready?"
//
// With Maven or Gradle: io.grpc:grpc-netty-shaded, grpc-protobuf, grpc-stub and the protobuf plugin.
// AMOCHATS_SERVER is host:port of the server.

import amochats.v1.ChannelOuterClass.Account;
