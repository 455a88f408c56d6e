Feature: Docker does what people use it for

  hello-world is one program that ends. Here Docker gets an image that is made of the container's
  own programs, so no registry takes part, and runs it as people run theirs.

  Background:
    Given the container is running
    And an image of 30 layers is made of the container's own programs

  @id:image @container @mutates @req:VAL-3
  Scenario: The files of an image are as they were built
    When a Docker container lists the files of the image
    Then each has its owner, its mode, its hard links and its extended attributes
    And no file is there that a later layer removed

  @id:network @container @mutates @req:VAL-3
  Scenario: Docker containers reach each other and the outside, and are reached
    When a server and a client run on a network of their own
    Then the client reaches the server by its name
    And the server answers at its published port
    And the client reaches what the container itself reaches

  @id:volume @container @mutates @req:VAL-3
  Scenario: A volume is kept over docker kill and a restart
    When a Docker container that wrote into a volume is killed
    And the container is restarted
    Then the volume holds what was written, and every file has its owner
    And the Docker container runs again, and becomes healthy
